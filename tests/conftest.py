import pytest
import torch
import yaml

from tests.commands import TINY
from tests.models import tiny_data


@pytest.fixture(autouse=True)
def _threads():
    torch.set_num_threads(2)


@pytest.fixture
def data():
    return tiny_data()


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return path
