import pytest

from tests.unbreakable.forks import forks


@pytest.fixture(scope="session")
def server():
    with forks() as started:
        yield started
