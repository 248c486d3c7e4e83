"""The tour: small raw downloads of drawn scenes, and every step from there to a verified query/gallery benchmark.

::

    DIR/raw/{kitti,cityscapes,voxdet}   what a user would have downloaded
    DIR/{kitti,cityscapes,voxdet}       datasets, one per download
    DIR/{merged,small,benchmark}        datasets made from these
    DIR/benchmark.json, DIR/anns.pt     exports
    DIR/baseline.json                   what a simple retrieval system finds
    DIR/evaluation.html                 how good that is
    DIR/prelabelled, DIR/prelabel.html  masks by two segmenters, where that is asked for
    DIR/{pairs,rounds,blind,reviewed}   a review by three people, where that is asked for (curate.demo.reviewing)
    DIR/agreement.html                  how well the three agree
    DIR/demo.json                       the steps with their counts and fingerprints
    DIR/index.html                      what was made, to look at

Each step calls the library as the command of that name does. The files hold no times, so that two tours give the same
bytes; only a review's log says when people worked.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from curate import evaluate, importing
from curate.atomic import atomic_folder, check_output
from curate.build.split import build_split
from curate.build.subset import build_subset
from curate.dataset import Dataset
from curate.demo import layouts
from curate.demo.baseline import rank_by_colour
from curate.demo.page import draw_page
from curate.demo.steps import SOURCES, Done, Outcome, Place, Steps, verified
from curate.demo.tiny_sam import CHECKPOINT
from curate.export import anns_pt, coco
from curate.pages import evaluation, prelabel
from curate.prelabel import runner
from curate.prelabel.tasks import select
from curate.verify import verify

MARKER = "demo.json"
SIZE = "<0.15"
_DRAW: dict[str, Callable[[], Iterator[layouts.File]]] = {
    "kitti": layouts.kitti,
    "cityscapes": layouts.cityscapes,
    "voxdet": layouts.voxdet,
}


def is_demo(path: Path) -> bool:
    """Whether ``path`` is a folder that a tour wrote."""
    try:
        return bool(msgspec.json.decode((path / MARKER).read_bytes())["demo"] == "curate")
    except (OSError, msgspec.DecodeError, KeyError, TypeError):
        return False


def ready(output: Path, *, overwrite: bool) -> None:
    """Refuse an output place before the work starts.

    Raises:
        UsageError: it exists without ``overwrite``, or is not an earlier tour.
    """
    check_output(output, overwrite=overwrite, ours=is_demo)


def run(
    output: Path,
    *,
    overwrite: bool = False,
    with_prelabel: bool = False,
    with_review: bool = False,
    tell: Callable[[Done], object] = lambda done: None,
) -> list[Done]:
    """Make the tour in the folder ``output``, which appears when all is done; ``tell`` hears of each step.

    Args:
        with_prelabel: also draw masks with two segmenters; needs torch, segment-anything and OpenCV.
        with_review: also let three played people outline things in a real Label Studio, which is installed if need be.

    Raises:
        UsageError: as :func:`ready`.
        CurateError: ``with_prelabel`` or ``with_review`` without what it needs.
    """
    done: list[Done] = []
    with atomic_folder(output, overwrite=overwrite, ours=is_demo) as folder:
        place = Place(folder, output)

        def take(what: str, step: Callable[[Place], Outcome]) -> None:
            start = time.perf_counter()
            outcome = step(place)
            done.append(Done(what, outcome, time.perf_counter() - start))
            tell(done[-1])

        for what, step in [*STEPS, *(PRELABEL_STEPS if with_prelabel else [])]:
            take(what, step)
        if with_review:
            from curate.demo import reviewing

            with reviewing.stage() as data:
                for what, step in reviewing.steps(data):
                    take(what, step)
        take("draw the page", lambda place: _page(place, done))
        (folder / MARKER).write_bytes(_marker(done))
    return done


# -------------------------------------------------------------------------------------------------------- the steps


def _draw(source: str, place: Place) -> Outcome:
    return Outcome(layouts.write(place.folder / "raw" / source, _DRAW[source]()))


def _import(source: str, place: Place) -> Outcome:
    dataset = importing.import_source(source, place.roots[source], checksums=True)
    root = place.home / "raw" / source
    info = msgspec.structs.replace(dataset.info, roots={source: str(root)})
    fingerprint = place.write(dataset.replace(info=info, problems=dataset.problems), source)
    return Outcome(_rows(dataset), f"import {source} ../raw/{source} --checksums -o {source}", fingerprint)


def _merge(place: Place) -> Outcome:
    first, *others = (place.read(source) for source in SOURCES)
    dataset = first.merge(*others, name="merged")
    return Outcome(_rows(dataset), f"merge {' '.join(SOURCES)} -o merged", place.write(dataset, "merged"))


def _subset(place: Place) -> Outcome:
    dataset = build_subset(place.read("merged"), size=SIZE)
    return Outcome(_rows(dataset), f'build subset merged --size "{SIZE}" -o small', place.write(dataset, "small"))


def _split(place: Place) -> Outcome:
    dataset = build_split(place.read("small"))
    counts = {"queries": dataset.table("queries").num_rows, "images": dataset.table("members").num_rows}
    return Outcome(counts, "build split query-gallery small -o benchmark", place.write(dataset, "benchmark"))


def _export_coco(place: Place) -> Outcome:
    counts = coco.write(place.read("benchmark"), place.folder / "benchmark.json")
    return Outcome(counts, "export coco benchmark -o benchmark.json")


def _export_anns_pt(place: Place) -> Outcome:
    counts = anns_pt.write(place.read("benchmark"), place.folder / "anns.pt")
    return Outcome(counts, "export anns_pt benchmark -o anns.pt")


def _verify(name: str, place: Place) -> Outcome:
    if name == "benchmark":
        report = verify(place.read(name), level="deep", roots=place.roots, name=name)
        arguments = f"verify {name} --level deep"
    else:
        report = verify(place.folder / name, name=name)
        arguments = f"verify {name}"
    return verified(report, arguments)


def _rank(place: Place) -> Outcome:
    scores = rank_by_colour(place.read("benchmark"), place.roots)
    content = msgspec.json.format(msgspec.json.encode(scores), indent=1)
    (place.folder / "baseline.json").write_bytes(content + b"\n")
    return Outcome({"queries": len(scores)})


def _evaluate(place: Place) -> Outcome:
    dataset = place.read("benchmark")
    truth = evaluate.read_truth("soir", dataset)
    results = evaluate.read_results([place.folder / "baseline.json"], truth)
    outcome = evaluate.look_behind("soir", truth, results, variant="strict", details=True)
    page = evaluation.draw_page(outcome, truth, results, dataset, roots=place.roots)
    (place.folder / "evaluation.html").write_text(page, "utf-8")
    arguments = "evaluate soir --truth benchmark --results ../baseline.json --html evaluation.html"
    value = outcome.scores.values["mAP"]
    return Outcome({"queries": len(outcome.scores.queries.query), "% mAP": round(100 * (value or 0))}, arguments)


def _prelabel(segmenter: str, name: str, into: str, place: Place) -> Outcome:
    """Masks for the boxes of a dataset; the model is the one that comes with the tour and knows its drawings only."""
    checkpoint = None
    if segmenter == "sam":
        checkpoint = place.folder / "raw" / CHECKPOINT.name
        checkpoint.write_bytes(CHECKPOINT.read_bytes())
    dataset = place.read(name)
    tasks = select(dataset, roots=place.roots)
    work = place.folder / f"{into}.work"
    outcome = runner.run(dataset, tasks, work, segmenter, checkpoint=checkpoint)
    shutil.rmtree(work)
    fingerprint = place.write(outcome.dataset, into)
    (place.folder / "prelabel.html").write_text(prelabel.draw_page(outcome.dataset, roots=place.roots), "utf-8")
    named = f"--checkpoint ../raw/{CHECKPOINT.name} " if checkpoint else ""
    arguments = f"prelabel {name} --segmenter {segmenter} {named}-o {into}"
    counts = {"masks": outcome.masks}
    found = [one for one in prelabel.proposals(outcome.dataset) if one.facts["model"] == segmenter]
    known = [one.truth for one in found if one.truth is not None]
    return Outcome(
        counts | ({"% true IoU": round(100 * sum(known) / len(known))} if known else {}), arguments, fingerprint
    )


def _page(place: Place, done: list[Done]) -> Outcome:
    page = draw_page(
        place.read("merged"),
        place.read("benchmark"),
        done,
        roots=place.roots,
        home=str(place.home),
        commands=by_hand(done),
    )
    (place.folder / "index.html").write_text(page, "utf-8")
    return Outcome({"bytes": len(page.encode())})


STEPS: Steps = [
    *((f"draw {source}", partial(_draw, source)) for source in SOURCES),
    *((f"import {source}", partial(_import, source)) for source in SOURCES),
    ("merge", _merge),
    ("build subset", _subset),
    ("build split", _split),
    ("export coco", _export_coco),
    ("export anns_pt", _export_anns_pt),
    *((f"verify {name}", partial(_verify, name)) for name in ("benchmark", "benchmark.json", "anns.pt")),
    ("rank by colour", _rank),
    ("evaluate", _evaluate),
]


PRELABEL_STEPS: Steps = [
    ("prelabel by ellipse", partial(_prelabel, "ellipse", "voxdet", "ellipses")),
    ("prelabel by grabcut", partial(_prelabel, "grabcut", "ellipses", "grabcuts")),
    ("prelabel by sam", partial(_prelabel, "sam", "grabcuts", "prelabelled")),
]


def _rows(dataset: Dataset) -> dict[str, int]:
    return {name: dataset.table(name).num_rows for name in ("images", "annotations", "instances", "queries")}


def by_hand(done: list[Done]) -> list[str]:
    """The commands that redo the tour from the raw downloads, in order, to be given in a folder below the tour's."""
    return [f"curate {step.outcome.arguments}" for step in done if step.outcome.arguments]


def _marker(done: list[Done]) -> bytes:
    steps = [
        {
            "what": what,
            **{key: value for key, value in outcome._asdict().items() if value is not None and key != "report"},
        }
        for what, outcome, _ in done
    ]
    content = {"demo": "curate", "steps": steps, "by_hand": by_hand(done)}
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"
