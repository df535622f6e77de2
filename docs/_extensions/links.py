"""Links: of names to what a page of docs/reference/api describes, and of files beside docs/ to their pages here.

Docstrings name what they mean where it is defined, such as ``dejavu_lightning.data.views.RandomViews``; the site
describes it where it is imported from, ``dejavu_lightning.data.RandomViews``. What exists but is not public stays
without a link, and a name of nothing is a warning, which a strict build takes for an error.
"""

from __future__ import annotations

import builtins
import inspect
import re
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.domains.python import PythonDomain
from sphinx.environment import BuildEnvironment
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform

BESIDE = {"README": "index", "CHANGELOG": "changelog", "CONTRIBUTING": "contributing"}
CODE = re.compile(r"([A-Za-z_][\w.]*)(\(.*\))?", re.DOTALL)


@cache
def find(dotted: str) -> Any:
    """The object of a dotted name, and None if there is none; a function rather than a module of the same name."""
    parts = dotted.split(".")
    for length in range(1, len(parts) + 1):
        try:
            found = import_module(".".join(parts[:length]))
        except ImportError:
            return None
        found = part_of(found, parts[length:])
        if found is not None:
            return found
    return None


def part_of(thing: Any, names: list[str]) -> Any:
    """What these attributes lead to, one of the other, and None if there is none."""
    for name in names:
        # A field that has no default is no attribute of its class.
        field = isinstance(thing, type) and name in inspect.get_annotations(thing)
        thing = getattr(thing, name, field or None)
    return thing


def meanings(target: str, module: str | None, of_class: str | None) -> list[Any]:
    """Objects that a name may stand for, said in the docstring of a class or function of a room, nearest first."""
    room = module or "dejavu_lightning"
    spaces = [find(f"{room}.{of_class}")] if of_class else []
    spaces += [sys.modules[name] for name in sorted(sys.modules) if f"{name}.".startswith(f"{room}.")]
    found = [part_of(space, target.split(".")) for space in [*spaces, builtins]] + [find(target)]
    return [thing for thing in found if thing is not None]


def link_public(app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, text: nodes.Node) -> nodes.Node | None:
    """Link a name that is described under another one, and leave a name of something else as it is."""
    if node.get("refdomain") != "py":
        return None
    domain = env.domains.python_domain
    described = {id(find(name)): name for name in domain.objects}
    found = meanings(node["reftarget"], node.get("py:module"), node.get("py:class"))
    for thing in found:
        if id(thing) in described and callable(thing):
            return reference(app, domain, node["refdoc"], described[id(thing)], text)
    return text if found else None


def reference(app: Sphinx, domain: PythonDomain, page: str, name: str, text: nodes.Node) -> nodes.Node:
    """A link from a page to the entry of a name."""
    entry = domain.objects[name]
    there = app.builder.get_relative_uri(page, entry.docname)
    return nodes.reference("", "", text, internal=True, refuri=f"{there}#{entry.node_id}", reftitle=name)


class LinkCode(SphinxPostTransform):
    """Makes links of code spans that are a public name, such as `MemorizationMonitor` or `HeldOut(split)`."""

    default_priority = 8

    def run(self, **kwargs: Any) -> None:
        """Replace them in the page."""
        domain = self.env.domains.python_domain
        # Short names are taken where they say what they are: classes, and functions of several words.
        short = {name.rpartition(".")[2]: name for name in domain.objects if name.count(".") < 4}
        for node in list(self.document.findall(nodes.literal)):
            said = CODE.fullmatch(node.astext())
            if not said or isinstance(node.parent, nodes.reference | addnodes.pending_xref | nodes.title):
                continue
            name = said[1]
            if name not in domain.objects:
                name = short.get(name, "") if name[0].isupper() or "_" in name else ""
            if name:
                node.replace_self(reference(self.app, domain, self.env.docname, name, node.deepcopy()))


class LinkBeside(SphinxTransform):
    """Leads links of pages beside docs/ to what stands for them on the site; a folder is no page and keeps its name."""

    default_priority = 500

    def apply(self, **kwargs: Any) -> None:
        """Change them in the page."""
        root = Path(self.app.srcdir).parent
        beside = {root / f"{name}.md": page for name, page in BESIDE.items()}
        for node in list(self.document.findall(addnodes.pending_xref)):
            if node["reftype"] != "myst":
                continue
            target = node["reftarget"] + (".md" if node["refdomain"] == "doc" else "")
            here = Path(self.env.doc2path(self.env.docname)).parent
            # A page that includes one from beside docs/ has links that start there.
            for path in ((here / target).resolve(), root / target):
                if path in beside:
                    node["refdomain"], node["reftarget"], node["reftargetid"] = "doc", beside[path], None
                    break
                if path.is_dir():
                    node.replace_self(node.children)
                    break


def shorten_defaults(*event: Any) -> tuple[str | None, str | None]:
    """Write defaults that a dataclass makes anew as "...", which can be read as Python."""
    signature, returned = event[-2:]
    return signature and signature.replace("<factory>", "..."), returned


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("missing-reference", link_public)
    app.connect("autodoc-process-signature", shorten_defaults)
    app.add_transform(LinkBeside)
    app.add_post_transform(LinkCode)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
