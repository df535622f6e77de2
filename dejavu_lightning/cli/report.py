"""``report``: one HTML file about any set of runs."""

from __future__ import annotations

from importlib import import_module

from dejavu_lightning.cli import typed
from dejavu_lightning.cli.errors import PlainParser
from dejavu_lightning.report.html import write_report


def report(arguments: list[str]) -> None:
    """Write the file; ``arguments`` begin with "report"."""
    parser = _parser()
    options = parser.parse_args(arguments[1:])
    for module in options.modules or ():
        import_module(module)
    try:
        written = write_report(
            options.run,
            options.output,
            names=options.names,
            default=options.default,
            metric=options.metric,
            utility=options.utility,
            title=options.title,
            overwrite=options.overwrite,
        )
    except FileExistsError as error:
        raise SystemExit(f"error: {error}") from error
    print(f"wrote {written} ({written.stat().st_size / 1e6:.1f} MB)")


def _parser() -> PlainParser:
    parser = PlainParser(prog=f"{typed()} report", description="Turn runs into one HTML file that needs no network.")
    parser.add_argument(
        "run",
        nargs="+",
        metavar="RUN",
        help="folder of fit or pair, output of memorization, each a variant; or one folder of a study",
    )
    parser.add_argument("--output", type=str, required=True, help="the HTML file")
    parser.add_argument("--names", nargs="+", type=str, help="of the variants, one a RUN; the folders' if not given")
    parser.add_argument("--default", type=str | None, help="variant that is marked; a study's own, else the first")
    parser.add_argument("--metric", type=str | None, help="of memorization, such as score@20 or prg")
    parser.add_argument("--utility", type=str | None, help="drawn against it, such as linear_top1")
    parser.add_argument(
        "--import",
        dest="modules",
        nargs="+",
        type=str,
        metavar="MODULE",
        help="Python modules that register memorization tests of your own",
    )
    parser.add_argument("--title", type=str | None, help="of the page")
    parser.add_argument("--overwrite", type=bool, default=False, help="replace the file")
    return parser
