"""Keep the results of all sections as JSON and as a page of Markdown tables."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class Results:
    """What was found so far; written anew after every check.

    Args:
        folder: where ``results.json`` and ``results.md`` go.
        about: what the run was asked for.
    """

    def __init__(self, folder: Path, about: dict[str, Any]) -> None:
        self.folder = folder
        self.content: dict[str, Any] = {"about": about, "machine": None, "sections": {}}

    def checks(self, section: str) -> list[dict[str, Any]]:
        """Results of a section."""
        found: list[dict[str, Any]] = self.content["sections"].setdefault(section, [])
        return found

    def add(self, section: str, result: dict[str, Any]) -> None:
        """Keep one check's result."""
        self.checks(section).append(result)
        self.write()

    def write(self) -> None:
        """Write both files, each in one move."""
        self.folder.mkdir(parents=True, exist_ok=True)
        files = {"results.json": json.dumps(self.content, indent=1), "results.md": self.page()}
        for name, text in files.items():
            part = self.folder / f"{name}.part"
            part.write_text(text + "\n")
            os.replace(part, self.folder / name)

    def page(self) -> str:
        """All results as Markdown."""
        machine = self.content["machine"] or {}
        versions = ", ".join(f"{name} {value}" for name, value in (machine.get("versions") or {}).items() if value)
        lines = [
            f"{machine.get('card', '?')}, {machine.get('cpu_cores', '?')} CPU cores ({machine.get('processor', '?')}), "
            f"{machine.get('date')}; {versions}"
        ]
        for section, results in self.content["sections"].items():
            lines += [
                "",
                f"## {section.capitalize()}",
                "",
                "| check | what | status | s | found |",
                "|---|---|---|---|---|",
            ]
            lines += [_row(result) for result in results]
            for result in results:
                for name, value in result["found"].items():
                    if _is_table(value):
                        lines += ["", f"### {result['name']}: {name}", "", *_table(value)]
        return "\n".join(lines)


def _row(result: dict[str, Any]) -> str:
    values = [f"{name} {_shown(value)}" for name, value in result["found"].items() if not _is_table(value)]
    told = "; ".join([*([result["message"]] if result.get("message") else []), *values])
    cells = (result["name"], result["told"], result["status"], f"{result['seconds']:.1f}", told)
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _table(rows: list[dict[str, Any]]) -> list[str]:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    head = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return head + ["| " + " | ".join(_cell(_shown(row.get(name, ""))) for name in columns) + " |" for row in rows]


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "/")
