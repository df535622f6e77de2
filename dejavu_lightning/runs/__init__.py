"""What a run folder holds: every file name, read and written in one place."""
