"""Which code runs: the installed packages, and the source of what no package manager installed."""

from __future__ import annotations

import ast
import hashlib
import platform
import sys
import time
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import distributions
from pathlib import Path

from dejavu_lightning.embedding.unidentified import UnidentifiedError

STARTED = time.time_ns()
INSTALLED = frozenset({"site-packages", "dist-packages"})


@cache
def installed_packages() -> str:
    """sha256 over Python's version and what every installed package says of its files, which has their hashes."""
    told = [f"{one.name} {one.version}\0{one.read_text('RECORD')}" for one in distributions()]
    return hashlib.sha256("\0".join([sys.version, platform.machine(), *sorted(told)]).encode()).hexdigest()


def source_code(name: str) -> list[tuple[str, str]]:
    """Module name and sha256 of the source of a module and of all it imports, itself or by others.

    Of installed packages only the module itself, if it has a file: the rest is what :func:`installed_packages` tells.

    Raises:
        UnidentifiedError: the source cannot be read, or was changed since this process started, so that it may not be
            what runs.
    """
    if _of_python(name):
        return []
    found: dict[str, str] = {}
    waiting = [name]
    while waiting:
        current = waiting.pop()
        file = _file(current)
        if current in found or file is None:
            continue
        if file.stat().st_mtime_ns > STARTED:
            raise UnidentifiedError(f"{file} was changed after this process started")
        content = file.read_bytes()
        found[current] = hashlib.sha256(content).hexdigest()
        if not _installed(file) and file.suffix == ".py":
            package = current if file.name == "__init__.py" else current.rpartition(".")[0]
            waiting += [other for other in _imported(content, package) if other not in found and not _of_python(other)]
    if name not in found and not _installed(_file(name.partition(".")[0])):
        raise UnidentifiedError(f"the source of module {name!r} cannot be read")
    return sorted(found.items())


def _of_python(name: str) -> bool:
    return name.partition(".")[0] in sys.stdlib_module_names


def _installed(file: Path | None) -> bool:
    return file is not None and bool(INSTALLED & set(file.parts))


def _file(name: str) -> Path | None:
    """Where the source, or the binary, of a module lies, without importing it."""
    if name == "__main__":
        given = getattr(sys.modules[name], "__file__", None)
        file = Path(given) if given else None
    else:
        spec = _spec(name)
        file = Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None
    return file if file is not None and file.is_file() else None


def _spec(name: str) -> ModuleSpec | None:
    known = getattr(sys.modules.get(name), "__spec__", None)
    if isinstance(known, ModuleSpec):
        return known
    parent = name.rpartition(".")[0]
    if not parent:
        return PathFinder.find_spec(name)
    above = _spec(parent)
    places = above.submodule_search_locations if above is not None else None
    return None if places is None else PathFinder.find_spec(name, list(places))


@lru_cache(maxsize=4096)
def _imported(content: bytes, package: str) -> tuple[str, ...]:
    """Names of all that a source in ``package`` may import, modules or not, wherever in it."""
    return tuple(dict.fromkeys(_names(ast.parse(content), package)))


def _names(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_parents(alias.name)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from _with_parents(base)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    yield from (".".join(parts[: end + 1]) for end in range(len(parts)))
