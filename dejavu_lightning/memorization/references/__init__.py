"""References: what estimates how much correlation alone explains, one kind a file."""
