"""Measure trained models and show what was found: ``python evaluate.py --help`` lists the commands."""

from dejavu_lightning.cli import main

if __name__ == "__main__":
    main(commands=("memorization", "utility", "report", "records", "references", "reconstruct"))
