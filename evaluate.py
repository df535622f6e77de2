"""Measure trained models, show what was found: ``python evaluate.py {memorization,utility,report,records} --help``."""

from dejavu_lightning.cli import main

if __name__ == "__main__":
    main(commands=("memorization", "utility", "report", "records"))
