"""``curate evaluate``: score ranked lists by a benchmark's own metric."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.commands.options import (
    check_new_file,
    check_report_file,
    report_options,
    root_option,
    show_result,
    write_report,
)

if TYPE_CHECKING:
    from curate.dataset import Dataset

PRESETS = ("searchad", "ilias", "soir", "revisitop", "instre", "permir", "pixel_retrieval")
_WORST = 10


@click.command("evaluate")
@click.argument("preset", type=click.Choice(PRESETS), metavar="PRESET")
@click.option(
    "--truth",
    type=click.Path(path_type=Path),
    required=True,
    metavar="PATH",
    help="A dataset, or upstream's own truth.",
)
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    metavar="FILE",
    help="The ranked lists; given several times, parts of one run.",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Another run to compare with, query by query; may be given several times.",
)
@click.option(
    "--variant",
    type=click.Choice(["strict", "upstream"]),
    default="strict",
    show_default=True,
    help="strict: sound figures; upstream: those of the published program, to the last digit.",
)
@click.option(
    "-k", "--k", type=click.IntRange(min=1), help="Cut the lists below this rank, where the preset has a cut."
)
@click.option("--taxonomy", type=click.Path(path_type=Path), metavar="FILE", help="ILIAS's misc/taxonomy.json.")
@click.option("--details", is_flag=True, help="Also by class, source, size ..., and the worst queries.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Write the table per query to this CSV file.")
@click.option("--html", "html_file", type=click.Path(path_type=Path), help="Write a page with plots and pictures.")
@click.option("--report", "report_file", type=click.Path(path_type=Path), help="Also write the JSON to this file.")
@click.option("--overwrite", is_flag=True, help="Replace existing --csv and --html files.")
@root_option
@report_options
def command(
    preset: str,
    truth: Path,
    results: tuple[Path, ...],
    against: tuple[Path, ...],
    variant: str,
    k: int | None,
    taxonomy: Path | None,
    details: bool,
    csv_file: Path | None,
    html_file: Path | None,
    report_file: Path | None,
    overwrite: bool,
    roots: dict[str, str],
    as_json: bool,
    quiet: bool,
) -> None:
    """Score ranked lists as the benchmark PRESET does.

    \b
      curate evaluate searchad --truth searchad_annotations_val.json --results predictions.json --variant upstream
      curate evaluate revisitop --truth oxford --results ranks.npy --details
      curate evaluate ilias --truth image_ids --results a.parquet --against b.parquet --html ilias.html

    \b
    PRESET           --truth, beside a dataset folder    main figure
      searchad         searchad_annotations_<split>.json   MAP over classes
      ilias            image_ids/                          mAP@1000
      soir             anns.pt                             mAP
      revisitop        gnd_*.pkl                           Medium mAP
      instre           gnd_instre.mat                      mAP
      permir           (dataset only)                      MAP
      pixel_retrieval  oxford_pair2labelpath.npy           Medium mAP@50:5:95 of masks

    Results: JSON as SearchAD ({class: [path, ...]}) or ILIAS ({query: {item: score}}), TREC run files, Parquet (query,
    item, score or rank), npy and npz of ranks or similarities, and the two pickles that benchmarks publish, read
    without running them. What is wrong with them, and what that does to the score, is said before the notes. Every
    output names preset, variant and the fingerprint of the truth.
    """
    from curate import evaluate
    from curate.atomic import atomic_file
    from curate.evaluate.report import Evaluation, per_query_csv

    inputs = [truth, *results, *against]
    if report_file is not None:
        check_report_file(report_file, Evaluation, "evaluate", *inputs)
    for file in (csv_file, html_file):
        if file is not None:
            check_new_file(file, overwrite, *inputs)
    dataset = _dataset(truth)
    known = evaluate.read_truth(preset, truth if dataset is None else dataset, taxonomy=taxonomy)
    first = evaluate.read_results(list(results), known)
    outcome = evaluate.look_behind(
        preset,
        known,
        first,
        variant="strict" if variant == "strict" else "upstream",
        k=k,
        details=details or html_file is not None,
        against=[evaluate.read_results([path], known) for path in against],
    )
    if csv_file is not None:
        with atomic_file(csv_file, overwrite=overwrite) as stream:
            stream.write(per_query_csv(outcome.scores))
    if html_file is not None:
        from curate.pages.evaluation import draw_page

        page = draw_page(outcome, known, first, dataset, roots=roots)
        with atomic_file(html_file, overwrite=overwrite) as stream:
            stream.write(page.encode())
    if report_file is not None:
        write_report(outcome, report_file)
    shown = evaluate.worst(outcome.scores, _WORST) if details else []
    show_result(outcome, evaluate.text(outcome, details=details, worst=shown), as_json=as_json, quiet=quiet)


def _dataset(path: Path) -> Dataset | None:
    from curate import store

    return store.read(path) if store.is_dataset(path) else None
