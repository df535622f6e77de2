import os

os.environ["OMP_NUM_THREADS"] = "1"  # tests run side by side, a process a core; what they start inherits it

import pytest
import torch
import yaml

from tests.commands import TINY
from tests.models import tiny_data
from tests.shards import UNEVEN, write_shards


@pytest.fixture(autouse=True)
def _threads():
    torch.set_num_threads(1)


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
