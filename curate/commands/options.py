"""Options that several verbs share, and how a result is shown: written once."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path
from typing import Any, TypeVar

import click

from curate.errors import CurateError, UsageError, did_you_mean, printable

F = TypeVar("F", bound=Callable[..., Any])
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # but tabs and line breaks

dataset_argument = click.argument("dataset", type=click.Path(path_type=Path), metavar="DS")


def output_options(what: str, *, required: bool = True) -> Callable[[F], F]:
    """``-o/--output`` and ``--overwrite`` for a command that writes ``what``; not ``required`` beside ``--dry-run``."""

    def decorate(function: F) -> F:
        function = click.option("--overwrite", is_flag=True, help="Replace an existing output of curate.")(function)
        return click.option(
            "-o", "--output", type=click.Path(path_type=Path), required=required, help=f"Where to write {what}."
        )(function)

    return decorate


def report_options(function: F) -> F:
    """``--json``, ``-q/--quiet`` and ``--debug``, which every verb has."""
    function = click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")(
        function
    )
    function = click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")(function)
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")(function)


jobs_option = click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Local processes to work with; 0 takes one per processor. The result does not depend on it.",
)


def pairs(values: tuple[str, ...], option: str) -> dict[str, str]:
    """``NAME=VALUE`` texts as a dict.

    Raises:
        UsageError: one is not of that form, or a name stands twice.
    """
    found: dict[str, str] = {}
    for value in values:
        name, sep, rest = value.partition("=")
        if not sep or not name or not rest:
            raise UsageError(f"{option} {value}", "has no name or no value", "expected NAME=VALUE")
        if name in found:
            raise UsageError(f"{option} {value}", f"{name} is given twice", "expected it once")
        found[name] = rest
    return found


def root_option(function: F) -> F:
    """``--root SOURCE=FOLDER``, as often as there are sources; gives a dict."""
    return click.option(
        "--root",
        "roots",
        multiple=True,
        metavar="SOURCE=FOLDER",
        callback=lambda ctx, param, values: pairs(values, "--root"),
        help="Folder of a source's images; may be given several times.",
    )(function)


def check_roots(roots: Mapping[str, str], sources: Iterable[str]) -> None:
    """Refuse a ``--root`` that helps nobody: of a source without images, or with a folder that is not there.

    Raises:
        UsageError: a name is none of ``sources``, or its folder is missing.
    """
    known = sorted(sources)
    for name, folder in roots.items():
        if name not in known:
            expected = f"expected one of {', '.join(known)}" if known else "the dataset has no images"
            raise UsageError(f"--root {name}", "no image is of this source", expected, did_you_mean(name, known))
        if not Path(folder).is_dir():
            raise UsageError(f"--root {name}={folder}", "no such folder", "expected the folder of the images")


def check_installed(what: str, *packages: str) -> None:
    """Say which package ``what`` lacks before any work is done.

    Raises:
        CurateError: one is not installed; with the extra that brings it.
    """
    from importlib.util import find_spec

    for package in packages:
        if find_spec(package) is None:
            raise CurateError(
                what, f"{package} is not installed", hint=f"install it: pip install 'curate[{EXTRAS[package]}]'"
            )


# Packages that no command but a few needs, and the extra that brings each.
EXTRAS = {
    "cv2": "sam",
    "faiss": "near",
    "imagehash": "near",
    "ray": "ray",
    "scipy": "review",
    "segment_anything": "sam",
    "torch": "sam",
    "transformers": "detect",
}


def workers(jobs: int) -> int:
    return jobs or len(os.sched_getaffinity(0))


@contextmanager
def progress(label: str, *, quiet: bool = False) -> Iterator[Callable[[int, int], object]]:
    """A progress bar on stderr; silent when that is no terminal. Gives a function to be told ``done, total``."""
    if quiet or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    bar = click.progressbar(length=1, label=label, file=sys.stderr)

    def tell(done: int, total: int) -> None:
        bar.length = max(total, 1)
        bar.update(done - bar.pos)

    with bar:
        yield tell


def show_result(result: Any, text: str, *, as_json: bool, quiet: bool) -> None:
    """Print ``result`` as JSON, or ``text``, or nothing."""
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(result, order="deterministic"), indent=2).decode())
    elif not quiet:
        click.echo(_CONTROL.sub(lambda found: printable(found[0]), text))


def check_new_file(file: Path, overwrite: bool, *inputs: Path) -> None:
    """Refuse an output file that exists or is an input, before the work starts.

    Raises:
        UsageError: ``file`` is one of the inputs, or exists and ``overwrite`` is false.
    """
    if any(path.exists() and file.resolve() == path.resolve() for path in inputs):
        raise UsageError(file, "is also the input", hint="nothing is changed in place: name another file")
    if file.is_dir():
        raise UsageError(file, "is a folder", "expected the name of a file to write")
    if file.exists() and not overwrite:
        raise UsageError(file, "already exists", hint="give --overwrite to replace it, or name another place")


def check_apart(places: Mapping[str, Path | None]) -> None:
    """Refuse outputs (option -> place) that are one place or lie in one another, before the work starts.

    Raises:
        UsageError: two of ``places`` do.
    """
    given = [(option, path, path.resolve()) for option, path in places.items() if path is not None]
    for (a, at, p), (b, _, q) in permutations(given, 2):
        if p == q:
            raise UsageError(f"{a} and {b}", f"name one place, {at}", "expected two")
        if p in q.parents:
            raise UsageError(b, f"lies in the output of {a}, {at}", "expected a place beside it")


def check_report_file(file: Path, kind: type, verb: str, *inputs: Path) -> None:
    """Refuse to replace anything but an earlier report of ``verb``, before the work starts.

    Raises:
        UsageError: ``file`` is one of the inputs, or holds something else than a report.
    """
    import msgspec

    if not file.exists():
        return
    if any(path.exists() and file.resolve() == path.resolve() for path in inputs):
        raise UsageError(file, "is also the input", hint="nothing is changed in place: name another file")
    try:
        msgspec.json.decode(file.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        raise UsageError(
            file, f"exists and is no report of curate {verb}", hint="name another file, or remove it yourself"
        ) from None


def write_report(report: Any, file: Path) -> None:
    """Write a report as JSON, or leave the file as it was."""
    import msgspec

    from curate.atomic import atomic_file

    with atomic_file(file, overwrite=True) as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(report, order="deterministic"), indent=2) + b"\n")


def table(rows: list[tuple[object, ...]], header: tuple[str, ...]) -> str:
    """Rows as aligned columns: numbers to the right, text to the left."""
    cells = [[f"{value:,}" if isinstance(value, int) else printable(str(value)) for value in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(header), *cells]) for i in range(len(header))]
    numeric = [all(isinstance(row[i], int | float) for row in rows) for i in range(len(header))]
    lines = []
    for line in [list(header), *cells]:
        parts = [c.rjust(w) if n else c.ljust(w) for c, w, n in zip(line, widths, numeric, strict=True)]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)
