"""Tell users of the commands what is wrong in a few lines: which option, what came, what to do."""

from __future__ import annotations

import difflib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from jsonargparse import ArgumentParser
from lightning.pytorch.cli import LightningArgumentParser

DEBUG = "DEJAVU_LIGHTNING_DEBUG"  # set by --debug, and inherited by the commands that a command runs
LONGEST = 8  # lines of a message that is not ours
# How to install what an import lacks: extras of this package, and names that differ from the module's.
EXTRAS = {
    "wandb": "wandb",
    "mlflow": "mlflow",
    "comet_ml": "comet",
    "submitit": "cluster",
    "transformers": "annotate",
    "sentence_transformers": "text",
    "diffusers": "reconstruct",
}
DISTRIBUTIONS = {"open_clip": "open_clip_torch", "PIL": "pillow", "yaml": "pyyaml", "comet_ml": "comet-ml"}
OWN = tuple(
    f"dejavu_lightning.{name}"
    for name in ("data", "methods", "callbacks", "memorization", "utility", "pretrained", "reconstruction")
)
CATALOGS = (*OWN, "lightning.pytorch.callbacks", "lightning.pytorch.loggers")
# Lines of jsonargparse that repeat the question or list what was tried.
NOISE = re.compile(
    r"Does not validate|Subtypes:|Errors:|Given value|Expected a path but|Parser key|Problem with given class_path|"
    r"Subclass types expect|a class path \(str\)|a dict |Not a valid subclass|Expected a <class '(NoneType|list|dict|"
    r"collections\.abc\.Iterable)'>"
)


class PlainParser(ArgumentParser):
    """A parser whose errors are a few lines, and exit with 2."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Tell the option, the value and the nearest names."""
        _tell(self, message, ex)


class PlainLightningParser(LightningArgumentParser):
    """Lightning's parser with such errors."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Tell the option, the value and the nearest names."""
        _tell(self, message, ex)


def _tell(parser: ArgumentParser, message: str, ex: Exception | None) -> NoReturn:
    if not parser.exit_on_error or os.environ.get(DEBUG):
        ArgumentParser.error(parser, message, ex)
    asked = getattr(ex, "subcommand_parser", None) or parser
    known = [name for name in asked._option_string_actions if name.startswith("--")]
    sys.stderr.write(f"error: {explain_usage(message, known)}\n  --help.all lists the options, --debug shows all\n")
    parser.exit(2)


@contextmanager
def plain_errors() -> Iterator[None]:
    """An error is a message to its user; --debug shows the traceback."""
    try:
        yield
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        raise SystemExit(f"error: {explain(error)}") from error


def explain(error: BaseException) -> str:
    """What to tell of an error: the message of this package's own, or what another library says, and where."""
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, ImportError):
            return _with_class(chain, str(cause)) + _remedy(cause)
    for cause in chain:  # jsonargparse raises its own from what a constructor raised
        if _from_here(cause) and isinstance(cause, ValueError | TypeError | OSError | ArithmeticError):
            return str(cause)
    cause = next((one for one in chain if "jsonargparse" not in _innermost(one)[0]), chain[-1])
    lines = [line for line in str(cause).splitlines() if line.strip()] or ["no message"]
    told = "\n  ".join(lines[:LONGEST] + (["..."] if len(lines) > LONGEST else []))
    file, line = _innermost(cause)
    where = f"{Path(file).name}, line {line}" if file else "unknown place"
    return f"{_with_class(chain, f'{type(cause).__name__}: {told}')}\n  ({where}; --debug shows the traceback)"


def explain_usage(message: str, known: list[str]) -> str:
    """The option, what is wrong and what was meant, out of what jsonargparse says of a command line or config.

    Args:
        known: the options that there are.
    """
    keys: list[tuple[int, str]] = []
    classes: list[tuple[int, str]] = []
    leaves: list[tuple[int, str, str, str]] = []  # depth, option, class, text
    spare: list[tuple[int, str, str, str]] = []
    value = ""
    for line in message.splitlines():
        text = line.strip().removeprefix("- ")
        indent = len(line) - len(line.lstrip())
        if not text:
            continue
        found = re.match(r'Parser key "([^"]+)"', text)
        if found:
            keys = [*((at, key) for at, key in keys if at < indent), (indent, found[1])]
        classes = [(at, name) for at, name in classes if at < indent]
        found = re.match(r"Problem with given class_path '([^']+)'", text)
        if found:
            classes.append((indent, found[1]))
        found = re.match(r"Given value: (?!Namespace|NestedArg|\[Namespace)(.{1,80})$", text)
        value = found[1] if found and not value else value
        option = ".".join(key for _, key in keys)
        leaf = (len(keys) + len(classes), option, classes[-1][1] if classes else "", text)
        (spare if NOISE.match(text) else leaves).append(leaf)
    deepest = max((depth for depth, *_ in leaves), default=0)
    chosen = list(dict.fromkeys(leaf[1:] for leaf in leaves if leaf[0] == deepest))
    if not chosen:
        wanted = [leaf[1:] for leaf in spare if leaf[3].startswith("Expected a <class") and "NoneType" not in leaf[3]]
        chosen = list(dict.fromkeys(wanted)) or [("", "", message.splitlines()[0])]
    told: list[str] = []
    for option, name, text in chosen[:3]:
        start = f"--{option}: " if option else ""
        told.append((start if not told else "") + _reworded(text, name, known))
    if value and value not in " ".join(told):
        told[-1] += f"; got {value}"
    return "\n  ".join(told)


def _reworded(text: str, name: str, known: list[str]) -> str:
    """One line of jsonargparse in plain words, with the nearest of what there is; ``name`` is the class it is about."""
    found = re.match(r"unrecognized arguments: (--[\w.+-]+)", text)
    if found:
        option = found[1].removeprefix("--").removesuffix("+")
        if not name:
            return f"there is no option {found[1]}{_nearest(found[1], known)}"
        return f"{name} has no argument {option!r}{_nearest(option.partition('.')[0], _arguments_of(name))}"
    found = re.match(r"Option '([^']+)' is not accepted", text)  # of a class that is not always named
    if found:
        classes = [name] if name else _classes(OWN)
        arguments = sorted({argument for one in classes for argument in _arguments_of(one)})
        told = f"{name} has no argument" if name else "there is no argument"
        return f"{told} {found[1]!r}{_nearest(found[1].partition('.')[0], arguments)}"
    found = re.match(r"Expected a dot import path string: (\S+)", text)
    if found:
        return f"there is no class {found[1]!r}{_nearest(found[1], _classes())}"
    found = re.match(r"Key '([^']+)' is not expected", text) or re.match(r'No action for key "([^"]+)"', text)
    if found:
        options = [option.removeprefix("--") for option in known]
        return f"there is no option {found[1]!r}{_nearest(found[1], _arguments_of(name) if name else options)}"
    found = re.match(r"Expected an? typing\.Literal\[(.*)\]", text)
    if found:
        return f"choose from {found[1]}"
    text = re.sub(r"Expected an? <class '([\w.]+)'>\.? ?(Got value: )?", r"expected \1, got ", text)
    text = text.removesuffix(", got ")
    return f"{name}: {text}" if name and re.match("No module|the following", text) else text


def _nearest(word: str, offered: list[str]) -> str:
    close = difflib.get_close_matches(word, offered, n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _arguments_of(name: str) -> list[str]:
    module, _, kind = name.rpartition(".")
    homes = [module] if module else [one for one in CATALOGS if name in getattr(import_module(one), "__all__", ())]
    try:
        return list(inspect.signature(getattr(import_module(homes[0]), kind)).parameters)
    except (ImportError, AttributeError, ValueError, TypeError, LookupError):
        return []


def _classes(catalogs: tuple[str, ...] = CATALOGS) -> list[str]:
    return [name for catalog in catalogs for name in getattr(import_module(catalog), "__all__", ())]


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _innermost(error: BaseException) -> tuple[str, int]:
    frames = list(traceback.walk_tb(error.__traceback__))
    return (frames[-1][0].f_code.co_filename, frames[-1][1]) if frames else ("", 0)


def _from_here(error: BaseException) -> bool:
    package = Path(__file__).resolve().parent.parent
    homes = (package, package.parent / "callbacks")
    return any(home in Path(_innermost(error)[0]).resolve().parents for home in homes)


def _with_class(chain: list[BaseException], told: str) -> str:
    """Put the class that a config names before what went wrong in it."""
    named = [name for one in chain for name in re.findall(r"Problem with given class_path '([^']+)'", str(one))]
    return f"{named[-1]}: {told}" if named else told


def _remedy(error: ImportError) -> str:
    """How to install what is missing; "" where nobody can tell, or the message does."""
    text = str(error)
    named = re.search(r"No module named '(\w+)|Requirement '([\w-]+)|requires? `?(\w+)", text)
    module = (error.name or next(filter(None, named.groups()), "") if named else error.name or "").partition(".")[0]
    module = module.replace("-", "_")
    if ("pip install" in text and module not in EXTRAS) or not module or module == "dejavu_lightning":
        return ""
    if isinstance(error, ModuleNotFoundError) or module in EXTRAS:
        extra = EXTRAS.get(module)
        wanted = f'"dejavu-lightning[{extra}]"' if extra else DISTRIBUTIONS.get(module, module)
        return f"\n  {module} is not installed: pip install {wanted}"
    return ""
