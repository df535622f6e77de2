"""Pair alignment, CLIPMem: are a training picture and its caption closer than those of others (arXiv 2502.07830)?"""
