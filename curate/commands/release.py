"""``curate release``: a dataset as a folder that can be given away and proved untouched."""

from __future__ import annotations

from pathlib import Path

import click

from curate.commands.options import (
    check_roots,
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
@click.option("--date", metavar="YYYY-MM-DD", help="Date of publication, for the card and Croissant.")
@click.option(
    "--previous",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Earlier release, or a dataset folder: changes.json says what changed.",
)
@click.option(
    "--recipe",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The recipe that 'curate run' made the dataset by: a copy goes into the release.",
)
@click.option("--with-images", is_flag=True, help="Put in the images whose licence is known to allow it.")
@click.option(
    "--severities",
    "severities_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TOML file that raises or lowers what rules count as; the report says so.",
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
    date: str | None,
    previous: Path | None,
    recipe: Path | None,
    with_images: bool,
    severities_file: Path | None,
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

    It holds a data card, tables, exports (Croissant always), plots, statistics, the report of the check, licences and
    citations, lineage, and SHA256SUMS; contact sheets and, where asked for, images of sources whose licence is known to
    allow it. All other pictures are named by path and hash, and are not passed on.
    """
    from curate import store
    from curate.commands.run import beside
    from curate.releasing import release
    from curate.verify import severities

    data = store.read(dataset)
    check_roots(roots, data.table("images")["source"].unique().to_pylist())
    made = release(
        data,
        output,
        formats=formats or ("coco",),
        version=version,
        date=date,
        previous=previous,
        recipe=recipe,
        beside=beside(recipe) if recipe is not None else (),
        with_images=with_images,
        roots=roots,
        severities=severities.read(severities_file) if severities_file else None,
        jobs=workers(jobs),
        overwrite=overwrite,
    )
    counts = ", ".join(f"{n:,} {name}" for name, n in made.counts.items() if n)
    show_result(made, f"{output}: {made.files:,} files, no errors; {counts}", as_json=as_json, quiet=quiet)
    return 0
