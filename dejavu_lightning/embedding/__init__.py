"""From a model and a data set to embeddings, and from embeddings to nearest neighbours."""
