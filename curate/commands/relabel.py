"""``curate relabel``: a dataset in the classes of a taxonomy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.commands.options import (
    check_report_file,
    dataset_argument,
    output_options,
    report_options,
    show_result,
    table,
    write_report,
)
from curate.errors import UsageError

if TYPE_CHECKING:
    from curate.taxonomy import Relabelled

_SHOWN = 20  # labels that stayed unmapped, in the text


@click.command("relabel")
@dataset_argument
@output_options("the relabelled dataset", required=False)
@click.option(
    "--taxonomy",
    required=True,
    metavar="NAME|FILE",
    help="A taxonomy of the package (searchad, coarse, native), or a table NAME.tsv of the same columns.",
)
@click.option("--drop-unmapped", is_flag=True, help="Leave out annotations of which the taxonomy says nothing.")
@click.option(
    "--report", "report_file", type=click.Path(path_type=Path), help="Also write the report to this JSON file."
)
@click.option("--dry-run", is_flag=True, help="Show the report, and write no dataset.")
@report_options
def command(
    dataset: Path,
    output: Path | None,
    overwrite: bool,
    taxonomy: str,
    drop_unmapped: bool,
    report_file: Path | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Give the annotations of the dataset DS the classes of a taxonomy.

    \b
      curate relabel driving --taxonomy searchad -o rare --report rare.json
      curate relabel driving --taxonomy coarse --drop-unmapped -o coarse

    Where a label is certainly of a class, the category becomes that class. Where it may be, a proposal is added for
    review, and the row itself stays as it is. source_label never changes. Labels of which the taxonomy says nothing
    keep their category, with the role other, and are listed. Coverage follows: a class is exhaustive only where every
    label that may hold it is.
    """
    from curate import store
    from curate.taxonomy import Relabelled, load, relabel

    if output is None and not dry_run:
        raise UsageError("--output", "is missing", "expected -o and a folder to write, or --dry-run")
    if report_file is not None:
        check_report_file(report_file, Relabelled, "relabel")
    chosen = load(taxonomy)
    if output is not None:
        store.ready_to_write(output, overwrite=overwrite, inputs=[dataset])
    relabelled, report = relabel(store.read(dataset), chosen, drop_unmapped=drop_unmapped)
    manifest = None if dry_run or output is None else store.write(relabelled, output, overwrite=overwrite)
    if report_file is not None:
        write_report(report, report_file)
    result = {
        "output": str(output) if manifest else None,
        "fingerprint": manifest.fingerprint if manifest else None,
        "counts": relabelled.counts(),
        "report": report,
    }
    counts = ", ".join(f"{rows:,} {name}" for name, rows in relabelled.counts().items())
    last = f"{output if manifest else 'nothing written; it would be'}: {counts}"
    show_result(result, "\n".join([*_lines(report), last]), as_json=as_json, quiet=quiet)


def _lines(report: Relabelled) -> list[str]:
    """Classes that any source brings, those that none does, and labels that stayed."""
    found = [entry for entry in report.classes if entry.certain or entry.possible]
    rows: list[tuple[object, ...]] = [
        (
            entry.name,
            entry.certain,
            entry.possible,
            ", ".join(f"{one.source} {_numbers(one.certain, one.possible)}" for one in entry.sources),
        )
        for entry in found
    ]
    lines = [table(rows, ("class", "certain", "possible", "from"))] if rows else []
    if len(found) < len(report.classes):
        lines.append(f"{len(report.classes) - len(found)} of {len(report.classes)} classes: nothing")
    for what, entries in (
        ("only possible", [entry for entry in report.unmapped if entry.proposed]),
        ("unmapped", [entry for entry in report.unmapped if not entry.proposed]),
    ):
        if entries:
            lines.append(
                f"{what}: {sum(entry.annotations for entry in entries):,} annotations of {len(entries)} labels"
            )
            largest = sorted(entries, key=lambda entry: (-entry.annotations, entry.source, entry.label or ""))
            lines += [
                f"  {entry.source}, {entry.label or 'without category'}: {entry.annotations:,}"
                + (f", {entry.dropped:,} dropped" if entry.dropped else "")
                for entry in largest[:_SHOWN]
            ]
            if len(entries) > _SHOWN:
                lines.append(f"  and {len(entries) - _SHOWN} more (--json, --report)")
    return lines


def _numbers(certain: int, possible: int) -> str:
    return f"{certain:,} + {possible:,}?" if certain and possible else f"{certain:,}" if certain else f"{possible:,}?"
