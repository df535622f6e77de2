"""The documentation site: it builds strictly, needs no network, and can be searched and read on a phone."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.browser import dump, measured, needs_browser

ROOT = Path(__file__).parents[2]
LOADING = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "link": "href",
    "source": "src",
    "audio": "src",
    "video": "src",
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-d",
        folder / "trees",
        ROOT / "docs",
        folder / "html",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
    return folder / "html"


class Loaded(HTMLParser):
    """What a page loads by itself, links to click left out."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.found += [given[name] for name in (LOADING.get(tag), "srcset") if given.get(name)]
        self.found += re.findall(r"url\(([^)]*)\)", given.get("style") or "")


def loaded(text):
    page = Loaded()
    page.feed(text)
    return [target for target in page.found if not target.startswith(("#", "data:"))]


def remote(text):
    return [target for target in loaded(text) if re.match(r"""['"]?(https?:)?//""", target)]


def test_what_a_page_loads_is_found():
    page = '<link href="//a.org/f.css"><script src="https://b.org/s.js"></script><a href="https://c.org">c</a>'
    page += '<img src="d.png">'
    assert loaded(page) == ["//a.org/f.css", "https://b.org/s.js", "d.png"]
    assert remote(page) == ["//a.org/f.css", "https://b.org/s.js"]


def test_every_page_is_there_and_loads_nothing_from_a_network(site):
    pages = [page for page in site.rglob("*.html") if "_modules" not in page.parts]
    written = [page for kind in ("*.md", "*.ipynb") for page in (ROOT / "docs").rglob(kind)]
    sources = {page.relative_to(ROOT / "docs").with_suffix(".html") for page in written}
    assert sources <= {page.relative_to(site) for page in pages}
    for page in pages:
        text = page.read_text()
        assert remote(text) == [], page
        missing = [name for name in loaded(text) if not (page.parent / name.partition("?")[0]).exists()]
        assert not missing, f"{page} loads {missing}"
    for style in site.rglob("*.css"):
        assert not re.search(r"""(@import|url\()\s*['"]?(https?:)?//""", style.read_text()), style


def test_names_lead_to_their_entries(site):
    guide = (site / "guides" / "references.html").read_text()
    assert 'href="../reference/api/memorization.html#dejavu_lightning.memorization.HeldOut"' in guide
    monitor = (site / "reference" / "api" / "callbacks.html").read_text()
    assert 'id="dejavu_lightning.callbacks.MemorizationMonitor"' in monitor
    assert 'href="memorization.html#dejavu_lightning.memorization.MemorizationSets"' in monitor


@needs_browser
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["index", "reference/api/callbacks", "reference/metrics"])
def test_pages_fit_a_phone_and_a_desk(site, tmp_path, name, width):
    inner, content, pictures, broken = measured(site / f"{name}.html", tmp_path, width)
    assert (inner, content, broken) == (width, width, 0)
    assert pictures or name != "index"


@needs_browser
def test_search_finds_pages_in_a_folder(site, tmp_path):
    found, console = dump(site / "search.html", tmp_path, "?q=entropy")
    assert console == []
    assert re.search(r'<a href="reference/metrics\.html[^"]*" data-score=', found)  # a link that the search made
