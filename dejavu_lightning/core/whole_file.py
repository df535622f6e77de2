"""Files that appear whole or not at all, however their writing ends."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def whole_file(path: str | Path, shared: bool = False) -> Iterator[Path]:
    """A file beside ``path`` to be written, which takes its place at once when the block ends.

    A kill, an error or a full disk leaves the earlier file as it was, or none. What a kill leaves beside it is
    hidden, has a name that nothing reads, and is overwritten when the same file is written again.

    Args:
        path: of the file; its folder is made.
        shared: several processes may write the file at the same time; each then writes one of its own.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{f'{uuid.uuid4().hex}.' if shared else ''}partial")
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())  # a power cut must not keep the name and lose the content
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_text(path: str | Path, text: str) -> None:
    """Write a text file, in UTF-8, whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write a JSON file, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, default=str))
