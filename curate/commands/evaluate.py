"""``curate evaluate``: score ranked lists by a benchmark's own metric, or pack them for a hidden test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.commands.options import (
    F,
    check_new_file,
    check_report_file,
    check_roots,
    output_options,
    report_options,
    root_option,
    show_result,
    write_report,
)
from curate.errors import UsageError

if TYPE_CHECKING:
    from curate.dataset import Dataset

PRESETS = ("searchad", "ilias", "soir", "revisitop", "instre", "permir", "pixel_retrieval")
_WORST = 10
_MANY = 2_000_000  # images from which on distractors are not held in memory


class _WithSubmit(click.Command):
    """``evaluate PRESET``, and ``evaluate submit`` beside the presets."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if args[:1] == ["submit"]:
            return submit.make_context(f"{info_name} submit", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


def _lists_and(truth: str) -> Callable[[F], F]:
    """``--truth``, which is ``truth``, and ``--results``: what is scored and what is submitted are named alike."""

    def decorate(function: F) -> F:
        path = click.Path(path_type=Path)
        lists = "The ranked lists; given several times, parts of one run."
        function = click.option("--results", type=path, multiple=True, required=True, metavar="FILE", help=lists)(
            function
        )
        return click.option("--truth", type=path, required=True, metavar="PATH", help=truth)(function)

    return decorate


@click.command("evaluate", cls=_WithSubmit)
@click.argument("preset", type=click.Choice(PRESETS), metavar="PRESET")
@_lists_and("A dataset, or upstream's own truth.")
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

    \b
    'curate evaluate submit' packs results for a hidden test; what it writes is scored with the test's key.
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
    dataset, distractors = _dataset(truth)
    if taxonomy is not None and (preset != "ilias" or dataset is not None):
        found = (
            f"is given for {preset}" if preset != "ilias" else "is given, and --truth is a dataset, which has its own"
        )
        raise UsageError("--taxonomy", found, "expected it beside ILIAS's image_ids", "leave it out")
    if roots and dataset is None:
        raise UsageError("--root", "is for the pictures of a dataset", f"expected --truth to be one; {truth} is not")
    if dataset is not None:
        check_roots(roots, {*dataset.info.sources, *dataset.table("images")["source"].unique().to_pylist()})
    known = evaluate.read_truth(
        preset, truth if dataset is None else dataset, taxonomy=taxonomy, distractors=distractors
    )
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


def _dataset(path: Path) -> tuple[Dataset | None, int]:
    """The dataset at ``path``, if there is one; of very many images without its distractors, and how many they are."""
    from curate import store

    if not store.is_dataset(path):
        return None, 0
    members = store.read_manifest(path).tables.get("members")
    return store.read_without_distractors(path) if members and members.rows > _MANY else (store.read(path), 0)


@click.command("submit")
@_lists_and("The hidden test: a dataset of 'curate build hidden', or SearchAD's folder or test mapping.")
@output_options("submission.json")
@click.option("--team", required=True, help="Name of the team.")
@click.option("--model", required=True, help="Name of the model.")
@click.option("--about", default="none", show_default=True, help="Paper, code or affiliation.")
@click.option(
    "--search-mode",
    type=click.Choice(["language", "vision", "multimodal"]),
    required=True,
    help="What the queries were: texts, pictures or both.",
)
@click.option("--uses-train", is_flag=True, help="The benchmark's train split was used.")
@click.option("--own-queries", is_flag=True, help="Queries other than the benchmark's default ones were used.")
@click.option("--force", is_flag=True, help="Pack the lists although something is wrong with them.")
@report_options
def submit(
    truth: Path,
    results: tuple[Path, ...],
    output: Path,
    overwrite: bool,
    team: str,
    model: str,
    about: str,
    search_mode: str,
    uses_train: bool,
    own_queries: bool,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Check ranked lists for a hidden test and pack them, in SearchAD's form.

    \b
      curate evaluate submit --truth searchad --results predictions_test.json --team Us --model Ours \\
          --search-mode language -o submission.json
      curate evaluate searchad --truth key --results submission.json     # the organisers, who have the key

    Results are those that 'curate evaluate' takes. Queries without results, images of another split, repeated images
    and lists that are cut short cost score, and are refused unless --force is given.
    """
    from curate import evaluate
    from curate.atomic import atomic_file
    from curate.errors import SourceError
    from curate.evaluate import submission

    check_new_file(output, overwrite, truth, *results)
    sender = submission.metadata(
        team=team,
        model=model,
        about=about,
        search_mode=search_mode.capitalize(),
        uses_train=uses_train,
        own_queries=own_queries,
    )
    form = submission.read_form(_dataset(truth)[0] or truth)
    packed, found = submission.pack(form, evaluate.read_results(list(results), form), sender)
    lines = [SourceError(one.where, f"{one.message} ({one.code})", hint=one.hint or "") for one in found]
    fatal = [line for line, one in zip(lines, found, strict=True) if one.severity == "error" or not force]
    if fatal:
        hint = fatal[0].hint or ("" if force else "repair the lists, or pack them as they are with --force")
        raise SourceError(fatal[0].where, fatal[0].found, hint=hint, also=fatal[1:])
    with atomic_file(output, overwrite=overwrite) as stream:
        stream.write(submission.text(packed))
    listed = sum(map(len, packed.predictions.values()))
    summary = {
        "output": str(output),
        "metadata": packed.metadata,
        "queries": len(packed.predictions),
        "items": listed,
        "findings": found,
    }
    said = [f"{one.severity} {one.code} {one.message}" for one in found]
    said.append(f"{output}: {len(packed.predictions):,} queries, {listed:,} items")
    show_result(summary, "\n".join(said), as_json=as_json, quiet=quiet)
