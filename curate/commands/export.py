"""``curate export``: a dataset into a foreign format."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

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


class _Formats(click.Command):
    """A command whose help lists the formats; they are looked for only when help is asked for."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from curate import export

        rows = [(name, export.title(name)) for name in export.names()]
        with formatter.section("Formats"):
            formatter.write_dl(rows)


@click.command("export", cls=_Formats)
@click.argument("format")
@dataset_argument
@output_options("the file or folder")
@click.option("--compat", metavar="upstream", help="As upstream's own program writes it, faults included.")
@click.option(
    "--key-prefix", metavar="TEXT", help="anns_pt, captions_pt, labelstudio: what to put before each image path."
)
@click.option(
    "--status",
    multiple=True,
    metavar="STATUS",
    help="coco, captions_pt, labelstudio, parquet: annotations of this status; may be repeated.",
)
@click.option("--keep-ids", is_flag=True, default=None, help="coco: ids as the imported file had them.")
@click.option(
    "--dense", is_flag=True, default=None, help="captions_pt: also masks as arrays, which upstream's reader needs."
)
@click.option(
    "--min-area",
    type=float,
    metavar="PX",
    help="searchad: px² that a positive's box has; by default the dataset's rule.",
)
@click.option("--images", metavar="HOW", help="ilias: pictures by link, copy or none; parquet: embed or none.")
@click.option("--shape", metavar="SHAPE", help="labelstudio: all as box, polygon or brush; as fits best by default.")
@click.option(
    "--document-root",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="labelstudio: the server's folder of local files, which the images lie in.",
)
@click.option("--date", metavar="YYYY-MM-DD", help="croissant: the date of publication.")
@root_option
@report_options
def command(
    format: str,
    dataset: Path,
    output: Path,
    overwrite: bool,
    compat: str | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Write the dataset DS in a foreign FORMAT.

    \b
      curate export coco small -o small.json
      curate export anns_pt soir -o anns.pt
      curate export anns_pt soir -o anns.pt --compat upstream
      curate export searchad rare -o searchad
      curate export ilias objects -o ilias --images copy
      curate export parquet rare -o rare-parquet --images embed --root kitti=raw/kitti
      curate export labelstudio kitti-sam -o tasks --shape polygon --document-root raw

    The default is the sound file where upstream's own has known faults; what a format cannot hold is left out and
    counted.
    """
    from curate import export, store

    module = export.load(format)
    given = {name: value for name, value in options.items() if value not in (None, (), {})}
    unknown = sorted(set(given) - set(inspect.signature(module.write).parameters))
    if unknown:
        name = "root" if unknown[0] == "roots" else unknown[0].replace("_", "-")
        raise UsageError(f"--{name}", f"is no option of {format}", hint="leave it out")
    opened = store.read(dataset)
    check_roots(given.get("roots", {}), opened.table("images")["source"].unique().to_pylist())
    counts = module.write(opened, output, overwrite=overwrite, compat=compat, **given)
    text = f"{output}: " + ", ".join(f"{n:,} {what.replace('_', ' ')}" for what, n in counts.items())
    show_result({"output": str(output), "counts": counts}, text, as_json=as_json, quiet=quiet)
