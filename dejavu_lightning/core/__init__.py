"""What everything stands on: samples, sets, splits, records, estimates, processes, files. Imports nothing of ours."""
