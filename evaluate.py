"""Measure trained models: ``python evaluate.py {memorization,utility} --help``."""

from dejavu_lightning.cli import main

if __name__ == "__main__":
    main(commands=("memorization", "utility"))
