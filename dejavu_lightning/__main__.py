"""``python -m dejavu_lightning``: every command of train.py and evaluate.py, without a checkout."""

from dejavu_lightning.cli import main

if __name__ == "__main__":
    main()
