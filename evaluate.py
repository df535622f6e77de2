"""Measure trained models: ``python evaluate.py memorization --help``."""

from dejavu_lightning.cli import main

if __name__ == "__main__":
    main(commands=("memorization",))
