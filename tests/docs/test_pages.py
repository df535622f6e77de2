"""Pages as plain Markdown: links and pictures lead somewhere, each page has one title."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from dejavu_lightning.cli import COMMANDS

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG")),
]


def inline(page):
    """Each token within paragraphs, headings and cells, and the block that it is in."""
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(page.read_text())
    for before, token in zip([None, *tokens], tokens, strict=False):
        for child in token.children or []:
            yield child, before.tag


def anchors(page):
    """What code hosts make of the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), flags=re.M)
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


def broken_links(page):
    for token, _ in inline(page):
        target = token.attrGet("href") or token.attrGet("src")
        if target is None or re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists():
            yield f"{target}: no such file"
        elif anchor and anchor not in anchors(file):
            yield f"{target}: the page has no such heading, but {anchors(file)}"


def test_pages_are_found():
    assert len(PAGES) > 30


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_pictures_lead_somewhere(page):
    assert list(broken_links(page)) == []


def test_a_broken_link_is_told(tmp_path):
    (tmp_path / "other.md").write_text("# Other page\n\n## What's `a_b`, exactly?\n\n```\n# no heading\n```\n")
    page = tmp_path / "page.md"
    page.write_text("[a](other.md#whats-a_b-exactly) [b](other.md#no-heading) ![c](c.png) | [d](https://e.org/f)\n")
    found = list(broken_links(page))
    assert [line.split(":")[0] for line in found] == ["other.md#no-heading", "c.png"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_has_one_title_and_whole_tables(page):
    text = page.read_text()
    if text.startswith("```{include}"):
        return
    assert text.startswith("# ")
    assert [tag for _, tag in inline(page)].count("h1") == 1
    loose = [token.content for token, tag in inline(page) if tag == "p" and token.content.startswith("| ")]
    assert not loose, f"lines of a table outside of it: {loose}"


def test_every_command_has_a_row():
    page = (ROOT / "docs" / "reference" / "commands.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", page, flags=re.M) == list(COMMANDS)
