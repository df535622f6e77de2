"""An index of shards that is killed while it is written is made anew, the same."""

import os
import signal

import pytest

from dejavu_lightning.data.shards.hash_splits import HashSplits
from dejavu_lightning.data.shards.shard_index import shard_index
from tests.shards import HALVES, UNEVEN, write_shards
from tests.unbreakable.moments import Moment, arm


@pytest.mark.parametrize("call", ["half", "replace"])
def test_an_index_of_shards(call, tmp_path):
    urls = write_shards(tmp_path / "shards", UNEVEN)
    whole, broken = tmp_path / "whole.parquet", tmp_path / "broken.parquet"
    shard_index(urls, HashSplits(HALVES), str(whole))
    child = os.fork()
    if not child:
        arm(tmp_path / "pids", Moment(call, "broken.parquet"), record=None)
        shard_index(urls, HashSplits(HALVES), str(broken))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not broken.exists()
    shard_index(urls, HashSplits(HALVES), str(broken))
    assert broken.read_bytes() == whole.read_bytes()
