"""``curate merge``: the union of datasets."""

from __future__ import annotations

from pathlib import Path

import click

from curate.commands.options import output_options, report_options, show_result
from curate.errors import UsageError


@click.command("merge")
@click.argument("datasets", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DS DS...")
@output_options("the union")
@report_options
def command(datasets: tuple[Path, ...], output: Path, overwrite: bool, as_json: bool, quiet: bool) -> None:
    """Unite the datasets DS, joined on ids.

    \b
      curate merge kitti cityscapes -o driving

    Where two datasets have the same row, a value that one of them lacks is filled in and equal values agree; anything
    else is an error that shows both. Of files and roots the first dataset that names one wins.
    """
    from curate import store
    from curate.merging import merge

    if len(datasets) < 2:
        raise UsageError("merge", "was given one dataset", "expected two or more")
    store.ready_to_write(output, overwrite=overwrite, inputs=datasets)
    union = merge([store.read(path) for path in datasets])
    manifest = store.write(union, output, overwrite=overwrite)
    result = {"output": str(output), "fingerprint": manifest.fingerprint, "counts": union.counts()}
    counts = ", ".join(f"{rows:,} {name}" for name, rows in union.counts().items())
    show_result(result, f"{output}: {counts}", as_json=as_json, quiet=quiet)
