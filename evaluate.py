"""Measure trained models, show what was found: ``python evaluate.py {memorization,report,...} --help``."""

from dejavu_lightning.cli import main

if __name__ == "__main__":
    main(commands=("memorization", "utility", "report", "records", "reconstruct"))
