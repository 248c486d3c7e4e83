"""``curate import``: a raw download, or a foreign file, into a dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.commands.options import (
    jobs_option,
    output_options,
    pairs,
    progress,
    report_options,
    root_option,
    show_result,
    workers,
)

if TYPE_CHECKING:
    from curate.dataset import Dataset
    from curate.model import Finding


@click.command("import")
@click.argument("source")
@click.argument("path", type=click.Path(path_type=Path))
@output_options("the dataset")
@click.option("--split", "splits", multiple=True, help="Only this split of the source; may be given several times.")
@click.option("--skip-bad", is_flag=True, help="Leave broken images out and record them in problems.jsonl.")
@click.option("--checksums", is_flag=True, help="Store the SHA-256 of every image file.")
@click.option(
    "-O",
    "--option",
    "given",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of the source's own (curate sources NAME); may be given several times.",
)
@root_option
@jobs_option
@report_options
def command(
    source: str,
    path: Path,
    output: Path,
    overwrite: bool,
    splits: tuple[str, ...],
    skip_bad: bool,
    checksums: bool,
    given: tuple[str, ...],
    roots: dict[str, str],
    jobs: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Import SOURCE (see 'curate sources') from its unpacked download, or from a foreign file, at PATH.

    \b
      curate import kitti data/kitti -o kitti
      curate import coco instances.json --root coco=images -o mine
      curate import anns_pt anns.pt -o soir

    Every problem found is listed in problems.jsonl of the new dataset. A broken image ends the import, with all such
    images named, unless --skip-bad is given.
    """
    from curate import importing, store

    store.ready_to_write(output, overwrite=overwrite)
    with progress(f"import {source}", quiet=quiet) as tell:
        dataset = importing.import_source(
            source,
            path,
            splits=splits,
            skip_bad=skip_bad,
            checksums=checksums,
            jobs=workers(jobs),
            options=pairs(given, "--option"),
            roots=roots,
            progress=tell,
        )
    manifest = store.write(dataset, output, overwrite=overwrite)
    result = {
        "output": str(output),
        "fingerprint": manifest.fingerprint,
        "counts": dataset.counts(),
        "findings": _by_code(dataset.problems),
    }
    show_result(result, _text(output, dataset), as_json=as_json, quiet=quiet)


def _by_code(problems: Sequence[Finding]) -> dict[str, int]:
    return dict(sorted(Counter(problem.code for problem in problems).items()))


def _text(output: Path, dataset: Dataset) -> str:
    from curate.codes import CODES

    counts = ", ".join(f"{rows:,} {name}" for name, rows in dataset.counts().items())
    lines = [f"{output}: {counts}"]
    lines += [f"  {code} {CODES[code][1]}: {n:,}" for code, n in _by_code(dataset.problems).items()]
    if dataset.problems:
        lines.append(f"  (each of them in {output / 'problems.jsonl'})")
    for name, record in dataset.info.sources.items():
        if record.published and record.found:
            lines += [
                f"  {name}: {getattr(record.found, what):,} {what}, published {published:,}"
                for what in ("images", "annotations", "instances")
                if getattr(record.found, what) is not None
                and (published := getattr(record.published, what)) not in (None, getattr(record.found, what))
            ]
    return "\n".join(lines)
