"""The published programs' own figures: the variant ``upstream`` of every preset gives them to the last digit.

SearchAD's devkit computes in single precision; its figures agree to 1e-6, all others to 1e-12.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate import evaluate as ev
from curate.evaluate.presets import soir
from curate.evaluate.truth_files import searchad_lists

# Names of the devkit's figures per class -> ours.
DEVKIT = {"MAP": "AP", "R-Precision": "R-Precision", "P@5": "P@5", "P@25": "P@25", "P@100": "P@100"}


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def equal(found: Iterable[float | None], expected: Iterable[float | None], digits: float = 1e-12) -> None:
    """Undefined figures are None on either side, and must be so on both."""
    a, b = (np.array([np.nan if value is None else value for value in side], float) for side in (found, expected))
    np.testing.assert_allclose(a, b, rtol=0, atol=digits, equal_nan=True)


def test_searchad(shared: Path) -> None:
    case = shared / "golden" / "searchad" / "case_basic"
    truth = case / "input" / "searchad_annotations_val.json"
    scores = ev.evaluate("searchad", truth, [case / "predictions_val.json"], variant="upstream")
    expected = load(case / "expected" / "scores_predictions_val.json")
    equal((scores.values[name] for name in DEVKIT), (expected["overall_scores"][name] for name in DEVKIT), 1e-6)
    for name, groups in expected["category_averages"].items():
        assert set(scores.groups[name]) == set(groups)
        equal((scores.groups[name][group] for group in groups), groups.values(), 1e-6)
    rows = expected["class_wise_results"]
    assert sorted(scores.queries.query) == sorted(rows)
    for theirs, ours in DEVKIT.items():
        equal(scores.queries.values[ours], (rows[name][theirs] for name in scores.queries.query), 1e-6)


def test_searchad_from_a_dataset(shared: Path) -> None:
    """The truth imported as a dataset is the truth of the file."""
    from curate.importing import import_source

    case = shared / "golden" / "searchad" / "case_basic"
    dataset = import_source("searchad", case / "input", splits=["val"])
    results = [case / "predictions_val.json"]
    scores = ev.evaluate("searchad", dataset, results, variant="upstream")
    expected = load(case / "expected" / "scores_predictions_val.json")["overall_scores"]
    equal((scores.values[name] for name in DEVKIT), (expected[name] for name in DEVKIT), 1e-6)


def test_searchad_lists(shared: Path) -> None:
    case = shared / "golden" / "searchad_metrics" / "case_1"
    truth = searchad_lists(load(case / "ground_truth.json"), load(case / "ignore.json"), "case")
    results = ev.read_results([case / "predictions.json"], truth)
    scores = ev.score("searchad", truth, results, variant="upstream")
    expected = load(case / "expected.json")
    equal((scores.values[name] for name in expected["overall"]), expected["overall"].values(), 1e-6)
    rows = expected["per_label"]
    for theirs, ours in DEVKIT.items():
        equal(scores.queries.values[ours], (rows[name][theirs] for name in scores.queries.query), 1e-6)
    for name, groups in expected["category_averages"].items():
        equal((scores.groups[name][group] for group in groups), groups.values(), 1e-6)
    cut = ev.score("searchad", truth, results, variant="upstream", k=5)
    asked = expected["mean_average_precision_with_top_k"]
    of_five = {name: row["top_k=5"] for name, row in asked.items()}
    place = {name: i for i, name in enumerate(cut.queries.query)}
    equal((cut.queries.values["AP"][place[name]] for name in of_five), of_five.values(), 1e-6)


@pytest.mark.parametrize("form", ["json", "pkl"])
@pytest.mark.parametrize("k", [1, 3, 10, 100])
def test_ilias(shared: Path, form: str, k: int) -> None:
    case = shared / "golden" / "ilias" / "case_1"
    results = [case / f"similarities.{form}"]
    scores = ev.evaluate(
        "ilias", case / "dataset", results, variant="upstream", k=k, taxonomy=case / "misc" / "taxonomy.json"
    )
    expected = load(case / "expected.json")[str(k)]["from_json" if form == "json" else "from_pickle"]

    def percent(values: Iterable[float | None]) -> list[float | None]:
        return [None if value is None else 100 * value for value in values]

    equal(
        percent([scores.values[f"mAP@{k}"], scores.values["oracle mAP"]]), [expected["map"], expected["oracle"]], 1e-9
    )
    place = {name: i for i, name in enumerate(scores.queries.query)}
    assert set(place) == set(expected["queries"])
    ours = percent(scores.queries.values["AP"][place[name]] for name in expected["queries"])
    equal(ours, expected["aps"], 1e-9)
    kinds = {"scale": "scale", "clutter": "clutter", "categories": "category", "subcategories": "subcategory"}
    for theirs, kind in kinds.items():
        assert expected[theirs]
        equal(percent(scores.groups[kind][name] for name in expected[theirs]), expected[theirs].values(), 1e-9)


def test_revisitop(shared: Path) -> None:
    case = shared / "golden" / "revisitop" / "case_1"
    scores = ev.evaluate("revisitop", case / "gnd_synthetic.pkl", [case / "ranking.npz"], variant="upstream")
    expected = load(case / "expected.json")
    for protocol in ("easy", "medium", "hard"):
        found, per_query = expected[protocol], scores.queries.values
        equal([scores.values[f"{protocol} mAP"]], [found["map"]])
        equal(per_query[f"{protocol} AP"], found["aps"])
        for i, kappa in enumerate(expected["kappas"]):
            equal([scores.values[f"{protocol} mP@{kappa}"]], [found["mean_precision_at"][i]])
            equal(per_query[f"{protocol} P@{kappa}"], (row[i] for row in found["precision_at"]))


def test_soir(shared: Path) -> None:
    case = shared / "golden" / "soir_metrics" / "case_1"
    labels = np.load(case / "retrieval.npz")["query_labels"].tolist()
    truth = soir.truth_of_labels(labels, load(case / "gallery_labels.json"))
    results = ev.read_results([case / "retrieval.npz"], truth)
    scores = ev.score("soir", truth, results, variant="upstream")
    expected = load(case / "expected.json")
    equal((scores.values[f"hit_rate@{k}"] for k in expected["ranks"]), expected["recall"].values())
    for k, hits in expected["hits"].items():
        equal(scores.queries.values[f"hit_rate@{k}"], map(float, hits))
    equal([scores.values["mAP"]], [expected["map_k=None"]["map"]])
    equal([scores.values["precision@3"]], [expected["map_k=3"]["precision_at_k"]])
    block, pooled = soir.binary(truth, ev.match(truth, results)), expected["binary"]
    equal(block.thresholds, pooled["thresholds"])
    equal(block.precision, pooled["precisions"])
    equal(block.recall, pooled["recalls"])
    equal(block.f1, pooled["f1_scores"])
    names = {
        "auc": "binary auc",
        "average_precision": "binary average_precision",
        "max_accuracy": "binary max_accuracy",
    }
    equal((scores.values[ours] for ours in names.values()), (pooled[theirs] for theirs in names))
    best = expected["optimal_f1"]
    equal(
        (scores.values[f"binary {name}"] for name in ("best threshold", "precision at best", "recall at best")),
        (best[name] for name in ("threshold", "precision", "recall")),
    )


@pytest.mark.parametrize(("name", "place"), [("proxford", "oxford"), ("prparis", "paris")])
def test_pixel_retrieval(shared: Path, name: str, place: str) -> None:
    case = shared / "golden" / "pixel_retrieval" / "case_1"
    truth = case / "pixel_retrieval_benchmarks" / f"{place}_pair2labelpath.npy"
    ranks = case / "results" / "image-level" / "synthetic" / f"r{place}.npy"
    outlines = case / "results" / "pixel-level" / "synthetic" / "matching_result" / f"{name}.npy"
    scores = ev.evaluate("pixel_retrieval", truth, [ranks, outlines], variant="upstream")
    expected = load(case / "expected.json")[name]
    for protocol in ("medium", "hard"):
        equal([scores.values[f"{protocol} mAP"]], [expected[f"image_level_map_{protocol}"]])
        for task, short in (("detection", "bbox"), ("segmentation", "seg")):
            of_task = f"{protocol} {task}"
            equal([scores.values[f"{of_task} mAP@50:5:95"]], [expected[f"map_50_5_95_{task}_{protocol}"]])
            equal([scores.values[f"{of_task} mean of mIoU"]], [expected["mean_of_miou"][f"{protocol}_{short}"]])
            equal(scores.queries.values[f"{of_task} mIoU"], expected["miou_per_query"][f"{protocol}_{short}"])
    # Without a ranking only the outlines are scored.
    alone = ev.evaluate("pixel_retrieval", truth, [outlines], variant="upstream")
    assert alone.main == "medium segmentation mean of mIoU"
    equal([alone.values[alone.main]], [expected["mean_of_miou"]["medium_seg"]])


def test_pixel_overlaps_pair_by_pair(shared: Path) -> None:
    """The painting of outlines is done here, pixel for pixel as OpenCV 4.10 paints."""
    from curate.evaluate.outlines import overlap

    case = shared / "golden" / "pixel_retrieval" / "case_1"
    truth = ev.read_truth("pixel_retrieval", case / "pixel_retrieval_benchmarks" / "oxford_pair2labelpath.npy")
    outlines = case / "results" / "pixel-level" / "synthetic" / "matching_result" / "proxford.npy"
    found = ev.read_results([outlines], truth).regions
    assert found is not None
    assert truth.regions is not None
    items = truth.items.to_pylist()
    expected = load(case / "expected.json")["proxford"]["ious_bbox_seg_per_pair"]
    assert len(expected) > 200
    for key, ious in expected.items():
        q, i = map(int, key.split("_"))
        pair = truth.queries[q], items[i]
        equal(overlap(found.get(pair, []), truth.regions[pair], "upstream"), ious)
