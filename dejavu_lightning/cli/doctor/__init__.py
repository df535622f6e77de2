"""Whether a config will run: checks, timings and a look at the pictures."""
