"""Pages opened in a real browser, without a window."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH: install Debian's chromium")
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
MEASURE = """<script>addEventListener("load", () => {
  const page = document.documentElement;
  const broken = [...document.images].filter(image => !image.complete || !image.naturalWidth).length;
  parent.postMessage([page.clientWidth, page.scrollWidth, document.images.length, broken].join(" "), "*");
});</script></body>"""
FRAME = """<!doctype html><body><iframe src="{name}" style="width:{width}px;height:800px;border:0"></iframe><script>
addEventListener("message", event => document.body.dataset.found = event.data);</script></body>"""


def dump(page, folder, query=""):
    """The document after loading, and what the console said."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--virtual-time-budget=5000"]
    options += ["--disable-background-networking", "--hide-scrollbars", "--enable-logging=stderr", "--v=0"]
    command = [CHROMIUM, *options, f"--user-data-dir={folder / 'profile'}", "--dump-dom", page.as_uri() + query]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def measured(page, folder, width):
    """Of the page in a window of this width: its width, that of its content, its pictures and those not shown."""
    # The page itself allows no script, so that it cannot load anything either.
    copy = page.with_name("measured.html")
    copy.write_text(POLICY.sub("", page.read_text()).replace("</body>", MEASURE))
    frame = page.with_name("frame.html")
    frame.write_text(FRAME.format(name=copy.name, width=width))
    found, console = dump(frame, folder)
    assert console == []
    return [int(number) for number in re.search(r'data-found="([\d ]+)"', found)[1].split()]
