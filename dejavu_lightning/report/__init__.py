"""One HTML page about any set of runs."""

from dejavu_lightning.report.html import write_report

__all__ = ["write_report"]
