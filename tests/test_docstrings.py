"""Public docstrings: what they must say, and their examples, which are run."""

from __future__ import annotations

import doctest
import importlib
import inspect

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def fill(folder):
    from tests.docstring_files import write_files
    write_files(folder)


def examples_of(module):
    """Those of a module; each sees the public names that are defined in it, and imports all else."""
    own = {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    }
    return [test for test in doctest.DocTestFinder().find(module, globs=own) if test.examples]
