"""What a run folder holds: every file name, read and written in one place. Loads torch only to read its files."""
