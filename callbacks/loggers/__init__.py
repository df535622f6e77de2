"""What each kind of logger is told, a kind a file."""
