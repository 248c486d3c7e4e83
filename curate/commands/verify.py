"""``curate verify``: check a dataset, a COCO file or an ``anns.pt``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.commands.options import (
    check_report_file,
    jobs_option,
    progress,
    report_options,
    root_option,
    show_result,
    workers,
    write_report,
)
from curate.errors import CurateError

if TYPE_CHECKING:
    from curate.dataset import Dataset
    from curate.model import Finding


def _words(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> list[str]:
    return [word for value in values for word in value.replace(",", " ").split()]


@click.command("verify")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--level",
    type=click.Choice(["quick", "full", "deep"]),
    default="full",
    show_default=True,
    help="quick: tables, names, head and end of image files; full: also boxes, masks, hashes, queries; deep: also "
    "decode every image.",
)
@click.option("--only", multiple=True, callback=_words, metavar="CODES", help="Only these rules, as M04 or B,M,R09.")
@click.option("--skip", multiple=True, callback=_words, metavar="CODES", help="Not these rules.")
@click.option(
    "--report", "report_file", type=click.Path(path_type=Path), help="Also write the report to this JSON file."
)
@root_option
@jobs_option
@report_options
def command(
    path: Path,
    level: str,
    only: list[str],
    skip: list[str],
    report_file: Path | None,
    roots: dict[str, str],
    jobs: int,
    as_json: bool,
    quiet: bool,
) -> int:
    """Check PATH: a dataset folder, a COCO JSON file or an anns.pt. Exit code 1 if there is an error.

    \b
      curate verify kitti
      curate verify instances.json --root coco=images --level deep -j 0
      curate verify anns.pt --only A,Q --report report.json

    What PATH is, is told by its content. Nothing is changed. Images are looked at where their folder is known: from the
    dataset, or by --root; the report says which rules could not be run, and why.
    """
    from curate import store
    from curate.verify import Report, unreadable, verify
    from curate.verify import report as reports

    if report_file is not None:
        check_report_file(report_file, Report, "verify", path)
    noticed: list[Finding] = []
    target: Dataset | Path | None = path
    if store.is_dataset(path):
        target, noticed = _open(path)
    if target is None:
        result = unreadable(str(path), noticed, level)  # type: ignore[arg-type]
    else:
        with progress("verify", quiet=quiet) as tell:
            result = verify(
                target,
                level=level,  # type: ignore[arg-type]
                only=only,
                skip=skip,
                roots=roots,
                jobs=workers(jobs),
                name=str(path),
                noticed=noticed,
                progress=tell,
            )
    if report_file is not None:
        write_report(result, report_file)
    if quiet and result.errors and not as_json:
        click.echo(reports.text(result, only_errors=True))
    show_result(result, reports.text(result), as_json=as_json, quiet=quiet)
    return 1 if result.errors else 0


def _open(path: Path) -> tuple[Dataset | None, list[Finding]]:
    """The dataset in the folder ``path``, None if it cannot be read; and what is wrong with its files."""
    from curate import store
    from curate.model import finding
    from curate.verify import folder

    noticed = folder(path)
    if any(one.severity == "error" for one in noticed):
        return None, noticed
    try:
        return store.read(path), noticed
    except CurateError as error:
        message = "; ".join(filter(None, [error.found, error.expected]))
        return None, [*noticed, finding("F04", error.where, message, hint=error.hint or None)]
