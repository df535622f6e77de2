"""Memory, traffic and hours of training and measuring on many GPUs, computed from constants: docs/guides/scaling.md.

python benchmarks/scaling.py
python benchmarks/scaling.py --vicreg_rate 600 --network 12.5e9 --gpus 4 32 --pictures 1e6

Every constant is an option; its help says where the value is from. The page explains the formulas.
"""

import argparse
from dataclasses import dataclass, field, fields
from typing import Any

GIB = 2**30
CARD = "measured on one H200, docs/guides/gpu.md"
SHAPES = "counted from the shapes of its tensors, see the page"
CPU = "counted on a CPU by benchmarks/counts.py"
VENDOR = "ASSUMED: the vendor's figure for the H200, not measured here"


def constant(value: float, meaning: str, source: str) -> float:
    found: float = field(default=value, metadata={"meaning": meaning, "source": source})
    return found


@dataclass(frozen=True)
class Constants:
    """What the tables are computed from; rates are those of one GPU."""

    vicreg_rate: float = constant(1093, "pictures/s from files to weights: VICReg, ResNet-50, 224 px, batch 128", CARD)
    clip_rate: float = constant(1986, "pairs/s of the step alone: CLIP, ViT-S-16, 224 px, batch 256", CARD)
    picture_encoding: float = constant(
        935, "pictures/s of a whole measurement: ResNet-50 in float32, painted pictures, nothing decoded", CARD
    )
    pair_encoding: float = constant(
        1030, "pictures/s encoded by ViT-S-16", "ASSUMED: .52 of its step's rate alone, as ResNet-50's 935 of 1808"
    )
    products: float = constant(
        1.9e13, "products of two numbers a second in a search of width 8192, ranking in it", CARD
    )
    float32: float = constant(3.8e13, "float32 operations a second, of the same search", CARD)
    search_bytes: float = constant(2.7 * GIB, "memory of a search beside the bank, width 8192", SHAPES)
    vicreg_activations: float = constant(87.65e6, "bytes kept for the backward pass a picture, two views, bf16", CPU)
    clip_activations: float = constant(42.83e6, "bytes kept for the backward pass a pair, bf16", CPU)
    vicreg_parameters: float = constant(174.5e6, "weights of ResNet-50 and a projector of 3 x 8192", CPU)
    clip_parameters: float = constant(62.3e6, "weights of ViT-S-16 and its text tower", CPU)
    label_bytes: float = constant(118, "host memory of a public sample's id and label", CPU)
    caption_bytes: float = constant(384, "host memory of a public sample's id and three objects", CPU)
    name_bytes: float = constant(
        32, "bytes of a public sample's id and facts that cross to every process", "a test counts them, see the page"
    )
    link: float = constant(450e9, "bytes/s that a GPU receives from others of its machine (NVLink)", VENDOR)
    network: float = constant(50e9, "bytes/s that a GPU receives from other machines (a 400 Gb/s card a GPU)", VENDOR)
    memory: float = constant(140 * GIB, "memory of a GPU", CARD)


@dataclass(frozen=True)
class Training:
    """One method's step on one of ``gpus`` GPUs."""

    given: Constants
    gpus: int

    batch = 128
    width = 8192
    optimizer_bytes = 12  # a weight's: itself, its gradient, LARS's momentum

    @property
    def rate(self) -> float:
        return self.given.vicreg_rate

    @property
    def parameters(self) -> float:
        return self.given.vicreg_parameters

    @property
    def together(self) -> int:
        """N, the samples of the global batch."""
        return self.batch * self.gpus

    def loss_seconds(self) -> float:
        """What the loss takes beyond a batch of one GPU: two covariances of N samples and their gradients."""
        return 12 * (self.together - self.batch) * self.width**2 / self.given.float32

    def loss_bytes(self) -> float:
        """Two views of the global batch: gathered, centred, gradients; two covariances and their gradients."""
        return 4 * (6 * self.together * self.width + 4 * self.width**2)

    def activation_bytes(self) -> float:
        return self.given.vicreg_activations * self.batch

    def received(self) -> float:
        """Bytes a step: gradients of the weights, reduced in a ring; embeddings of the others, and their gradients."""
        weights = 2 * 4 * self.parameters * (self.gpus - 1) / self.gpus
        return weights + 2 * 2 * 4 * self.width * (self.together - self.batch)

    def memory(self) -> float:
        weights = (self.optimizer_bytes + 2) * self.parameters  # 2: the bf16 copy of autocast
        return weights + self.activation_bytes() + self.loss_bytes()

    def seconds(self) -> tuple[float, float, float]:
        """Of a step: the GPU's own, the loss of the others' samples, the traffic; as if none ran beside another."""
        bandwidth = self.given.link if self.gpus <= 8 else self.given.network
        return self.batch / self.rate, self.loss_seconds(), self.received() / bandwidth

    def hours(self, pictures: float, epochs: float) -> float:
        return epochs * pictures / self.together * sum(self.seconds()) / 3600


class ClipTraining(Training):
    """The same of CLIP with ``local_loss``, where a GPU compares its own pairs with all others."""

    batch = 256
    width = 384
    optimizer_bytes = 16  # a weight's: itself, its gradient, AdamW's two moments

    @property
    def rate(self) -> float:
        return self.given.clip_rate

    @property
    def parameters(self) -> float:
        return self.given.clip_parameters

    def loss_seconds(self) -> float:
        return 12 * (self.together - self.batch) * self.batch * self.width / self.given.float32

    def loss_bytes(self) -> float:
        """Pictures and captions of the global batch and their gradients; two tables of logits and their gradients."""
        return 4 * (4 * self.together * self.width + 4 * self.together * self.batch)

    def activation_bytes(self) -> float:
        return self.given.clip_activations * self.batch


@dataclass(frozen=True)
class Measuring:
    """One measurement on ``gpus`` GPUs: ``queries`` records, attacked and held out, against ``public`` samples."""

    given: Constants
    gpus: int
    public: float
    queries: float
    width: int
    encoding: float  # pictures a second
    sample_bytes: float
    k: int = 100

    def bank(self) -> float:
        """Bytes of the bank on each GPU."""
        return 4 * self.public * self.width / self.gpus

    def memory(self) -> float:
        """The shares of bank and records, and the search, or before it the ids of a process at a time (NCCL)."""
        own = 4 * self.queries * self.width / self.gpus
        names = self.given.name_bytes * self.public / self.gpus if self.gpus > 1 else 0.0
        return self.bank() + own + max(self.given.search_bytes, names)

    def host_memory(self) -> float:
        """Bytes of each process: ids and facts of all public samples."""
        return self.sample_bytes * self.public

    def received(self) -> float:
        """Bytes: every query; the finds of all for the own queries; the results; ids and facts of the bank."""
        others = (self.gpus - 1) / self.gpus
        finds = 2 * self.queries * self.k * 16 * others
        return 4 * self.queries * self.width * others + finds + self.given.name_bytes * self.public * others

    def hours(self) -> tuple[float, float]:
        """Of encoding, and of the search with its traffic."""
        bandwidth = self.given.link if self.gpus <= 8 else self.given.network
        search = self.queries * self.public * self.width / self.given.products / self.gpus
        encoding = (self.public + self.queries) / self.encoding / self.gpus
        return encoding / 3600, (search + self.received() / bandwidth) / 3600


def gigabytes(size: float) -> str:
    """1 GB is 10**9 bytes."""
    return f"{size / 1e9:.2f}" if size < 9.995e9 else f"{size / 1e9:,.0f}"


def hours(value: float) -> str:
    if value < 0.001:
        return "< 0.001"
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def count(value: float) -> str:
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k"


def fitting(size: float, given: Constants) -> str:
    return gigabytes(size) + (", **too much**" if size > given.memory else "")


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


def training_table(kind: type[Training], given: Constants, options: argparse.Namespace) -> list[str]:
    head = ["GPUs", "global batch", "GB a GPU", "GB received a GPU and step", "step, s: own + loss + traffic"]
    head += [f"hours, {count(pictures)}" for pictures in options.pictures]
    rows = []
    for gpus in options.gpus:
        case = kind(given, gpus)
        row = [str(gpus), f"{case.together:,}", fitting(case.memory(), given), gigabytes(case.received())]
        row.append(" + ".join(f"{seconds:.3f}" for seconds in case.seconds()))
        rows.append(row + [hours(case.hours(pictures, options.epochs)) for pictures in options.pictures])
    return table(head, rows)


def measuring_table(given: Constants, options: argparse.Namespace, **test: Any) -> list[str]:
    head = ["public", "GPUs", "GB a GPU", "GB a process, host", "GB received a GPU", "hours: encoding + search"]
    rows = []
    for public in options.pictures:
        for gpus in options.gpus:
            case = Measuring(given, gpus, public, options.queries, **test)
            row = [count(public), str(gpus), fitting(case.memory(), given), gigabytes(case.host_memory())]
            rows.append([*row, gigabytes(case.received()), " + ".join(map(hours, case.hours()))])
    return table(head, rows)


def constants_table(given: Constants) -> list[str]:
    rows = [
        [f"`{each.name}`", f"{getattr(given, each.name):.4g}", each.metadata["meaning"], each.metadata["source"]]
        for each in fields(given)
    ]
    return table(["constant", "value", "what it is", "where it is from"], rows)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64, 256])
    parser.add_argument("--pictures", type=float, nargs="+", default=[3e5, 1e7, 5e7], help="trained on, or public")
    parser.add_argument("--epochs", type=float, default=100)
    parser.add_argument("--queries", type=float, default=20_000, help="records of a measurement, held-out ones too")
    for each in fields(Constants):
        told = f"{each.metadata['meaning']}; {each.metadata['source']} (default: {each.default:.4g})"
        parser.add_argument(f"--{each.name}", type=float, default=each.default, help=told.replace("%", "%%"))
    options = parser.parse_args(arguments)
    given = Constants(**{each.name: getattr(options, each.name) for each in fields(Constants)})
    parts = {
        "Constants": constants_table(given),
        f"Training VICReg, {options.epochs:g} epochs": training_table(Training, given, options),
        f"Training CLIP, {options.epochs:g} epochs": training_table(ClipTraining, given, options),
        f"Measuring label inference, width 8192, {options.queries:,.0f} records": measuring_table(
            given, options, width=8192, encoding=given.picture_encoding, sample_bytes=given.label_bytes
        ),
        f"Measuring object retrieval, width 384, {options.queries:,.0f} records": measuring_table(
            given, options, width=384, encoding=given.pair_encoding, sample_bytes=given.caption_bytes
        ),
    }
    for title, lines in parts.items():
        print("\n".join([f"### {title}", "", *lines, ""]))


if __name__ == "__main__":
    main()
