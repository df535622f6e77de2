"""Which tests there are, by the name in the settings of their records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from dejavu_lightning.memorization.label_inference.attack import LabelInference
from dejavu_lightning.memorization.object_retrieval.attack import ObjectRetrieval
from dejavu_lightning.memorization.pair_alignment.attack import PairAlignment
from dejavu_lightning.memorization.protocols import MemorizationTest
from dejavu_lightning.memorization.view_alignment.attack import ViewAlignment

T = TypeVar("T", bound=type[Any])

TESTS: dict[str, type[MemorizationTest]] = {
    test.name: test for test in (LabelInference, ObjectRetrieval, ViewAlignment, PairAlignment)
}
DEFAULT_TEST: type[MemorizationTest] = LabelInference


def register_test(test: T) -> T:
    """Make a test of one's own known by its name; used as a decorator of its class.

    Args:
        test: a class like ``protocols.MemorizationTest``.

    Raises:
        ValueError: another test has that name.

    Example:
        >>> from dejavu_lightning.memorization import TESTS, LabelInference
        >>> @register_test
        ... class Bystander(LabelInference):
        ...     name = "bystander"
        >>> find_test({"test": "bystander"}) is Bystander
        True
        >>> del TESTS["bystander"]  # which nobody needs
    """
    known = TESTS.get(test.name)
    if known is not None and (known.__module__, known.__qualname__) != (test.__module__, test.__qualname__):
        raise ValueError(f"a memorization test named {test.name!r} is known already: {known}; choose another name")
    TESTS[test.name] = test
    return test


def find_test(settings: Mapping[str, Any]) -> type[MemorizationTest]:
    """Find the test that records with these settings are of.

    Args:
        settings: of :class:`~dejavu_lightning.core.records.Records`; ``test`` is the test's name.

    Raises:
        ValueError: it is not known.

    Example:
        >>> find_test({"test": "label_inference"}).headline
        'score'
    """
    name = settings.get("test")
    if name not in TESTS:
        raise ValueError(
            f"records of the memorization test {name!r} cannot be read, known are {', '.join(TESTS)}; import the "
            "module that registers it first (on the command line: --import MODULE)"
        )
    return TESTS[name]
