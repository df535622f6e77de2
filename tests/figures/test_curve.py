"""The curve by epoch."""

from dejavu_lightning.figures import curve
from dejavu_lightning.memorization import LabelInference


def test_epochs_are_whole_numbers_however_few_there_are(monkeypatch, tmp_path):
    monkeypatch.setattr(curve.style, "save", lambda figure, path: figure)
    row = {"target_accuracy": 0.5, "reference_accuracy": 0.25, "score": 0.25}
    history = [{"epoch": float(epoch), **row} for epoch in (0, 1)]
    figure = curve.draw_curve(history, tmp_path / "curve.png", LabelInference.display)
    assert [tick for tick in figure.axes[1].get_xticks() if 0 <= tick <= 1] == [0, 1]
