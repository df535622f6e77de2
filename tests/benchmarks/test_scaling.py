"""The scaling page shows what the script computes, and the script computes the formulas of the page."""

import sys

import pytest

from tests.commands import ROOT

sys.path.append(str(ROOT / "benchmarks"))
import scaling
from counts import SAMPLES, host_bytes
from scaling import ClipTraining, Constants, Measuring, Training


def test_the_page_shows_the_output(capsys):
    scaling.main([])
    assert capsys.readouterr().out in (ROOT / "docs" / "guides" / "scaling.md").read_text()


def test_the_host_holds_of_a_sample_what_the_constants_say():
    """Within what versions of Python differ by."""
    labels, objects = [row % 1000 for row in range(SAMPLES)], [[row % 256, 1, 2] for row in range(SAMPLES)]
    label = host_bytes([f"{row:029d}" for row in range(SAMPLES)], labels)
    caption = host_bytes([f"{row:015d}" for row in range(SAMPLES)], [{"objects": found} for found in objects])
    assert (label, caption) == pytest.approx((Constants.label_bytes, Constants.caption_bytes), rel=0.1)


def test_constants_of_the_reader_change_the_tables(capsys):
    scaling.main(["--gpus", "2", "--pictures", "1e6", "--vicreg_rate", "100"])
    lines = capsys.readouterr().out.splitlines()
    assert "| `vicreg_rate` | 100 |" in "\n".join(lines)
    trained = next(line for line in lines if line.startswith("| 2 | 256 |"))
    assert " 1.280 + " in trained  # 128 pictures at 100 a second


def test_vicreg_by_hand():
    given = Constants(
        vicreg_rate=64.0, float32=1e12, link=1e9, network=1e8, vicreg_parameters=1e6, vicreg_activations=10.0
    )
    alone, both, many = (Training(given, gpus) for gpus in (1, 2, 16))
    assert alone.received() == 0
    assert alone.seconds() == (2.0, 0.0, 0.0)
    # Half of 8 bytes a weight, and 128 pictures of the other in two views, there and back.
    assert both.received() == 4e6 + 4 * 4 * 8192 * 128
    assert both.seconds() == (2.0, pytest.approx(12 * 128 * 8192**2 / 1e12), both.received() / 1e9)
    assert many.seconds()[2] == many.received() / 1e8  # over the network
    assert both.memory() == 14e6 + 1280 + 4 * (6 * 256 * 8192 + 4 * 8192**2)
    assert alone.hours(128 * 3600, epochs=3) == 6.0


def test_clip_by_hand():
    given = Constants(float32=1e12, clip_parameters=1e6, clip_activations=10.0)
    two = ClipTraining(given, 2)
    assert two.loss_seconds() == pytest.approx(12 * 256 * 256 * 384 / 1e12)
    assert two.received() == 4e6 + 4 * 4 * 384 * 256
    assert two.memory() == 18e6 + 2560 + 4 * (4 * 512 * 384 + 4 * 512 * 256)


def test_measuring_by_hand():
    given = Constants(products=1e9, link=1e6, search_bytes=50_000.0, name_bytes=30)
    case = Measuring(given, 4, public=1000, queries=100, width=10, encoding=2.0, sample_bytes=50, k=10)
    assert case.bank() == 10_000
    assert case.memory() == 10_000 + 4 * 100 * 10 / 4 + 50_000
    many = Measuring(given, 4, public=8000, queries=100, width=10, encoding=2.0, sample_bytes=50, k=10)
    assert many.memory() == 80_000 + 1000 + 30 * 8000 / 4  # ids of one process, more than the search
    assert case.host_memory() == 50_000
    received = 0.75 * (4 * 100 * 10 + 2 * 16 * 100 * 10 + 30 * 1000)
    assert case.received() == received
    encoding, search = case.hours()
    assert encoding == pytest.approx(1100 / 2 / 4 / 3600)
    assert search == pytest.approx((100 * 1000 * 10 / 1e9 / 4 + received / 1e6) / 3600)


def test_a_bank_that_does_not_fit_is_marked(capsys):
    scaling.main(["--gpus", "1", "2", "--pictures", "1000", "--memory", str(3.4e9)])
    marked = [line for line in capsys.readouterr().out.splitlines() if "**too much**" in line]
    assert [line[:9] for line in marked] == ["| 1 | 128", "| 2 | 256", "| 1 | 256", "| 2 | 512", "| 1k | 1 "]
