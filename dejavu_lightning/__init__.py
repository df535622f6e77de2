"""Measure what representation models memorize while they train."""

from pathlib import Path as _Path

# In a checkout the callbacks lie beside this package, in an installation inside it. A script run from the
# checkout imports this copy of the package, whatever is installed, and must find them too.
_checkout = _Path(__file__).resolve().parent.parent
if not (_checkout / "dejavu_lightning" / "callbacks").is_dir() and (_checkout / "callbacks").is_dir():
    __path__.append(str(_checkout))

__version__ = "0.1.0"
