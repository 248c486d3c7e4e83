"""``curate release``: a dataset as a folder that can be given away and proved untouched."""

from __future__ import annotations

from pathlib import Path

import click

from curate.commands.options import (
    dataset_argument,
    jobs_option,
    output_options,
    report_options,
    root_option,
    show_result,
    workers,
)


@click.command("release")
@dataset_argument
@output_options("the release folder")
@click.option(
    "--format", "formats", multiple=True, metavar="NAME", help="Export to this format; may be repeated. [default: coco]"
)
@click.option("--version", metavar="TEXT", help="Version of the release; that of the dataset if not given.")
@click.option(
    "--previous",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Earlier release: changes.json says what changed.",
)
@root_option
@jobs_option
@report_options
def command(
    dataset: Path,
    output: Path,
    overwrite: bool,
    formats: tuple[str, ...],
    version: str | None,
    previous: Path | None,
    roots: dict[str, str],
    jobs: int,
    as_json: bool,
    quiet: bool,
) -> int:
    """Write the dataset DS as a release folder, if a check finds no error.

    \b
      curate release small -o small-1.0 --version 1.0 --format coco --format croissant
      curate release small -o small-1.1 --version 1.1 --previous small-1.0
      curate verify small-1.0

    It holds a data card, tables, exports, statistics, the report of the check, licences and citations, and SHA256SUMS.
    Pictures are named by path and hash, and are not passed on.
    """
    from curate import store
    from curate.releasing import release

    made = release(
        store.read(dataset),
        output,
        formats=formats or ("coco",),
        version=version,
        previous=previous,
        roots=roots,
        jobs=workers(jobs),
        overwrite=overwrite,
    )
    counts = ", ".join(f"{n:,} {name}" for name, n in made.counts.items() if n)
    show_result(made, f"{output}: {made.files:,} files, no errors; {counts}", as_json=as_json, quiet=quiet)
    return 0
