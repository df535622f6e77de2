"""View alignment, SSLMem: are views of a training picture closer together than views of others (arXiv 2401.12233)?"""
