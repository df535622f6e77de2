"""How the documentation site is built; CONTRIBUTING.md has the command."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

import dejavu_lightning

project = "dejavu-lightning"
author = copyright = "The dejavu-lightning authors"
version = release = dejavu_lightning.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "links",
]
exclude_patterns = ["_extensions", "_build"]
nitpicky = True  # a name in a docstring that does not exist fails the build; links.py says where it is looked for
nitpick_ignore = [("py:class", "Run"), ("py:class", "RunDisabled")]  # of WandbLogger, which imports them for types only

# Pages are read on code hosts, too: links by file and heading, as those make them.
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
nb_execution_mode = "off"  # a test runs the notebooks; the site shows what they hold

autodoc_default_options = {"members": True}
autodoc_inherit_docstrings = False  # those of Lightning and torch describe their own classes
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
maximum_signature_line_length = 88
napoleon_use_ivar = True  # Attributes: are a list in their class's entry; those with docstrings have their own
napoleon_use_rtype = False  # Returns: begins with a shape, which is not a type to link
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"dejavu-lightning {version}"
html_copy_source = False
# Excerpts under what is found are fetched, which browsers refuse to pages that are opened from a folder.
html_show_search_summary = False
