"""The short help of each command: what it does, its first options and three examples, without importing torch."""

from __future__ import annotations

from typing import NamedTuple

ALL = "--help.all"


class ShortHelp(NamedTuple):
    """One command's.

    Attributes:
        usage: the words behind the command.
        text: what it does.
        options: the first of its options, and what they mean.
        examples: what to type behind the program's name.
    """

    usage: str
    text: str
    options: dict[str, str]
    examples: tuple[str, ...]


CONFIG = "a YAML file of yours, or configs/... of the package; of several, later ones win"
DEVICE = "such as cpu or cuda:1; a GPU if there is one, if not given"
HELP: dict[str, ShortHelp] = {
    "fit": ShortHelp(
        "--config FILE [--config FILE ...] [options]",
        "Train one model on split A or B of the data, and measure what it memorizes while it trains.",
        {
            "--config FILE": CONFIG,
            "--trainer.default_root_dir DIR": "folder of the run, which must hold none",
            "--trainer.max_epochs N": "how long; everything under trainer is Lightning's",
            "--data.train_on A|B": "the split to train on, A for the target and B for the reference",
            "--memorization.every_n_epochs N": "how often to measure and to keep a checkpoint",
            "--ckpt_path FILE": "go on from a checkpoint, such as RUN/checkpoints/last.ckpt",
            "--model.help CLASS": "list the options of a class, such as VICReg; likewise --data.help",
            "--print_config": "show the whole config and do nothing",
        },
        (
            "fit --config configs/quickstart.yaml --trainer.default_root_dir runs/first",
            "fit --config configs/methods/vicreg.yaml --config configs/data/imagenet.yaml "
            "--config configs/trainer/gpu.yaml --data.source.root DATA/train --data.source.annotations DATA/boxes",
            "fit --config runs/first/config.yaml --ckpt_path runs/first/checkpoints/last.ckpt",
        ),
    ),
    "pair": ShortHelp(
        "--config FILE [--config FILE ...] [--output DIR] [options of fit]",
        "Train the reference on split B and the target on split A, and compare them. Options of fit go to both.",
        {
            "--config FILE": CONFIG,
            "--output DIR": "folder of both runs and of the comparison; the config's default_root_dir if not given",
            "--resume": "go on with a pair that was stopped",
            "--target_config FILE": "a config of the target alone, for mitigations",
            "--leave_out SHARE": "compare without so many of the samples",
            "--trainer.max_epochs N": "like every option of fit, of both trainings",
        },
        (
            "pair --config configs/quickstart.yaml",
            "pair --config configs/quickstart_clip.yaml --output runs/clip",
            "pair --config configs/quickstart.yaml --output runs/quickstart --resume",
        ),
    ),
    "study": ShortHelp(
        "--config FILE [options]",
        "Run pair for each variant and seed of a study, and put them in one table. Run again, it goes on.",
        {
            "--config FILE": "the study's YAML file, such as those of configs/studies/",
            "--seeds N [N ...]": "instead of the file's; more of them continue a study",
            "--output DIR": "folder of all runs; else the file's output, or runs/studies/NAME",
            "--jobs N": "pairs at once",
            "--launcher local|slurm": "where the pairs run",
            "--dry-run": "print the commands and do nothing",
        },
        (
            "study --config configs/studies/mitigations_ssl.yaml --dry-run",
            "study --config configs/studies/mitigations_ssl.yaml --seeds 0 --output runs/studies/first",
            "study --config configs/studies/mitigations_ssl.yaml --seeds 0 1 2 --output runs/studies/first --jobs 2",
        ),
    ),
    "memorization": ShortHelp(
        "--target CHECKPOINT --reference CHECKPOINT|CLASS [options]",
        "Measure what a model memorized: a checkpoint of fit or pair, or a model that others trained.",
        {
            "--target FILE|CLASS": "checkpoint, or a class of dejavu_lightning.pretrained and --target.name",
            "--reference FILE|CLASS": "the same, not trained on what is attacked; or HeldOut, or NaiveBayes",
            "--config FILE": "a config of fit with the data; config.yaml above the target if not given",
            "--test CLASS": "another test than the config's, such as ViewAlignment",
            "--k N": "neighbours, instead of the config's",
            "--encode PART": "what is attacked: backbone, encode, or encode_layers for every layer of the projector",
            "--output DIR": "a new folder for metrics.json, records and figures",
            "--device NAME": DEVICE,
        },
        (
            "memorization --target runs/first/checkpoints/last.ckpt --reference HeldOut --output runs/measured",
            "memorization --target runs/quickstart/target/checkpoints/last.ckpt "
            "--reference runs/quickstart/reference/checkpoints/last.ckpt --k 50",
            "memorization --target TorchvisionModel --target.name resnet50 --target.weights DEFAULT "
            "--reference HeldOut --config my_data.yaml",
        ),
    ),
    "utility": ShortHelp(
        "--checkpoint FILE [options]",
        "Probe the features of a checkpoint of fit or pair: a linear probe, nearest neighbours, zero-shot classes.",
        {
            "--checkpoint FILE": "the trained model",
            "--encode PART": "what is probed: backbone, encode, or encode_layers for every layer of the projector",
            "--measures NAME": "of models of pictures and captions: zero_shot, caption_retrieval, named_objects",
            "--max_train N": "learn from at most so many pictures",
            "--output FILE": "a new file for the numbers, as JSON",
            "--device NAME": DEVICE,
        },
        (
            "utility --checkpoint runs/quickstart/target/checkpoints/last.ckpt",
            "utility --checkpoint runs/first/checkpoints/last.ckpt --encode encode_layers --output utility.json",
            "utility --checkpoint runs/clip/target/checkpoints/last.ckpt --measures+ caption_retrieval",
        ),
    ),
    "doctor": ShortHelp(
        "CONFIG [CONFIG ...] [options of fit]",
        "Check a config of fit within about a minute: data, splits, crops, copies, disk, GPU, packages, speed. Exit "
        "code 1 where something is wrong. Nothing is left in the run's folder.",
        {
            "--config FILE": f"{CONFIG}; or without the word --config",
            "--sheet FILE": "picture of eight records, with boxes, crops and captions; doctor.png if not given",
            "--output DIR": "the folder that pair would be given, checked to be free",
            "--seconds N": "to time each of loading and training",
            "--data.batch_size N": "like every option of fit, in place of the config's",
        },
        (
            "doctor configs/quickstart.yaml",
            "doctor configs/methods/vicreg.yaml configs/data/folder.yaml --data.source.root DATA",
            "doctor --config configs/quickstart_clip.yaml --sheet records.png --seconds 3",
        ),
    ),
    "report": ShortHelp(
        "RUN [RUN ...] --output FILE [options]",
        "Turn runs into one HTML file that needs no network. RUN: a folder of fit, pair, memorization or study.",
        {
            "--output FILE": "the HTML file",
            "--names NAME [NAME ...]": "of the runs, in their order",
            "--metric NAME": "of memorization, such as score@20 or prg",
            "--utility NAME": "drawn against it, such as linear_top1",
            "--overwrite true": "replace the file",
        },
        (
            "report runs/quickstart --output report.html",
            "report runs/plain runs/masked --names plain masked --output report.html",
            "report runs/studies/first --metric score@20 --output report.html --overwrite true",
        ),
    ),
    "records": ShortHelp(
        "RUN [RUN ...] --output DIR [options]",
        "Tell which records are memorized over seeds and epochs, and what predicts it. RUN: pairs that differ in their "
        "seed, or a study.",
        {
            "--output DIR": "a new folder for tables and figures",
            "--variant NAME": "of the study; its default if not given",
            "--data false": "do not look at crops, captions and copies in the data of the configs",
            "--overwrite true": "replace the tables that --output holds",
        },
        (
            "records runs/seed0 runs/seed1 runs/seed2 --output records",
            "records runs/studies/records --variant vicreg --output records",
            "records runs/quickstart --data false --output records",
        ),
    ),
    "references": ShortHelp(
        "MEASUREMENT [MEASUREMENT ...] --output DIR [options]",
        "Put several references of one or more targets beside each other: scores, agreement, what each infers and "
        "ranks first. MEASUREMENT: output of memorization with --extra_references.",
        {
            "--output DIR": "a new folder for tables and figures",
            "--names NAME [NAME ...]": "of the targets, in their order",
            "--overwrite true": "replace the tables that --output holds",
        },
        (
            "references runs/measured --output references",
            "references runs/vicreg runs/dino --output references",
            "references runs/a runs/b --names first second --output references --overwrite true",
        ),
    ),
    "reconstruct": ShortHelp(
        "--target CHECKPOINT --reference CHECKPOINT --diffusion CHECKPOINT CHECKPOINT --output DIR [options]",
        "Make pictures of what two models give away of records, by a diffusion model of the embeddings of each.",
        {
            "--target FILE": "checkpoint of fit or pair",
            "--reference FILE": "the same, not trained on what is attacked",
            "--diffusion FILE FILE": "trained on each by fit --config configs/reconstruction/scenes.yaml, in any order",
            "--output DIR": "a new folder for pictures, samples and numbers",
            "--k N": "public neighbours whose embeddings are averaged; the config's if not given",
            "--records N": "attack at most so many records, 100 if not given",
            "--samples N": "pictures of each record and model, 4 if not given",
            "--device NAME": DEVICE,
        },
        (
            "reconstruct --target runs/quickstart/target/checkpoints/last.ckpt "
            "--reference runs/quickstart/reference/checkpoints/last.ckpt --diffusion "
            "runs/reconstruction/target/checkpoints/last.ckpt runs/reconstruction/reference/checkpoints/last.ckpt "
            "--output runs/reconstruction/pictures",
            "reconstruct --target T.ckpt --reference R.ckpt --diffusion D1.ckpt D2.ckpt --output pictures --k 50",
            "reconstruct --target T.ckpt --reference R.ckpt --diffusion D1.ckpt D2.ckpt --output all --records 1000",
        ),
    ),
}


def print_short_help(program: str, command: str) -> None:
    """Print the help of a command; ``program`` is what the user typed before it."""
    told = HELP[command]
    options = {**told.options, ALL: "list all options"}
    width = max(map(len, options)) + 2
    print(f"usage: {program} {command} {told.usage}\n\n{told.text}\n")
    print("\n".join(f"  {option:{width}}{meaning}" for option, meaning in options.items()))
    print("\nexamples:\n" + "\n".join(f"  {program} {example}" for example in told.examples))
