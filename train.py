"""Train models and watch what they memorize: ``python train.py {fit,pair,study} --help``."""

from dejavu_lightning.cli import main

if __name__ == "__main__":
    main(commands=("fit", "pair", "study"))
