import pytest
import torch

from tests.models import tiny_data


@pytest.fixture(autouse=True)
def _threads():
    torch.set_num_threads(2)


@pytest.fixture
def data():
    return tiny_data()
