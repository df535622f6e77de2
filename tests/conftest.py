import os

os.environ["OMP_NUM_THREADS"] = "1"  # tests run side by side, a process a core; what they start inherits it

import pytest
import torch
import yaml

from tests.commands import TINY
from tests.models import tiny_data
from tests.shards import UNEVEN, write_shards

RENDEZVOUS = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "RANK", "WORLD_SIZE")


@pytest.fixture(autouse=True)
def _threads():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _rendezvous():
    """Forget the port at which a test's processes met: what later tests start would meet there too."""
    yield
    for name in RENDEZVOUS:
        os.environ.pop(name, None)


@pytest.fixture
def data():
    return tiny_data()


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return path


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("shards"), UNEVEN)
