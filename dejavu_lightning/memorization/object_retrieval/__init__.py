"""Object retrieval: does a caption bring back uncaptioned objects (Jayaraman et al. 2024, arXiv 2402.02103)?."""
