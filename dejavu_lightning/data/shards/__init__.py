"""WebDataset shards: reading, index, samples, training batches."""
