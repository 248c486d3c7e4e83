"""``curate show``: contact sheets of a dataset, as PNG or HTML."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from curate.commands.options import (
    check_roots,
    dataset_argument,
    output_options,
    report_options,
    root_option,
    show_result,
)
from curate.errors import UsageError


@click.command("show")
@dataset_argument
@output_options("the sheet, NAME.html or NAME.png")
@click.option("--image", "images", multiple=True, metavar="ID", help="Show this image; may be given several times.")
@click.option(
    "--class",
    "classes",
    multiple=True,
    metavar="NAME",
    help="Only annotations of this class; may be given several times.",
)
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(["truth", "proposal", "rejected"]),
    default=["truth"],
    show_default=True,
    help="Only annotations of this status; may be given several times.",
)
@click.option("--crops", is_flag=True, help="Show objects with what is around them, instead of whole images.")
@click.option("--limit", type=click.IntRange(1, 1000), default=24, show_default=True, help="Tiles at most.")
@root_option
@report_options
def command(
    dataset: Path,
    output: Path,
    overwrite: bool,
    images: tuple[str, ...],
    classes: tuple[str, ...],
    statuses: tuple[str, ...],
    crops: bool,
    limit: int,
    roots: dict[str, str],
    as_json: bool,
    quiet: bool,
) -> None:
    """Draw pictures of the dataset DS with their boxes and masks, as one HTML page or one PNG.

    \b
      curate show kitti -o kitti.html
      curate show kitti --class Cyclist --crops -o cyclists.png

    Without --image, images are spread evenly over the sorted ids of those with annotations, so that the same dataset
    gives the same sheet. Pictures that are stored turned are turned for viewing, with their annotations. The page is
    self-contained: it can be sent as it is. Of a dataset with queries it also shows some, with images that answer them.
    """
    kind = _kind(output)
    from curate import store
    from curate.atomic import atomic_file
    from curate.show import show

    data = store.read(dataset)
    check_roots(roots, data.table("images")["source"].unique().to_pylist())
    with atomic_file(output, overwrite=overwrite) as stream:
        shown = show(
            data, kind=kind, images=images, classes=classes, statuses=statuses, limit=limit, crops=crops, roots=roots
        )
        stream.write(shown.content)
    result = {
        "output": str(output),
        "tiles": shown.tiles,
        "annotations": shown.annotations,
        "problems": shown.problems,
    }
    show_result(
        result, _text(output, len(shown.tiles), shown.annotations, shown.problems, crops), as_json=as_json, quiet=quiet
    )


def _kind(output: Path) -> Literal["html", "png"]:
    suffix = output.suffix.lower()
    if suffix in (".html", ".htm"):
        return "html"
    if suffix == ".png":
        return "png"
    raise UsageError(output, f"ends in {suffix!r}" if suffix else "has no ending", "expected NAME.html or NAME.png")


def _text(output: Path, tiles: int, annotations: int, problems: dict[str, str], crops: bool) -> str:
    lines = [f"{output}: {tiles:,} {'objects' if crops else 'images'}, {annotations:,} annotations drawn"]
    if problems:
        name, problem = next(iter(problems.items()))
        lines.append(f"  no picture for {len(problems):,} of them, the first: {name}: {problem}")
    return "\n".join(lines)
