"""Sources: where pictures, labels, boxes and captions are read from, one layout a file."""
