"""Upstream's own files of truth: what they say, and one clear error for each that is damaged."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate import evaluate as ev
from curate.errors import CurateError, SourceError, UsageError
from curate.evaluate.ranking import LABELS, Truth

CAT, DOG = "Animal-Real-Cat", "Animal-Real-Dog"


def pairs(truth: Truth) -> set[tuple[str, str, str]]:
    items = truth.items.to_pylist()
    rows = zip(truth.query, truth.item, truth.label, strict=True)
    return {(truth.queries[q], items[i], LABELS[label]) for q, i, label in rows}


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, Any], Path]:
    def write(name: str, content: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    return write


def box(label: str, x2: float, y2: float) -> dict[str, Any]:
    return {"label": label, "bbox": [0, 0, x2, y2]}


def test_searchad_small_boxes_make_ignored_images(put: Callable[[str, Any], Path]) -> None:
    """50 px² is enough; areas are not summed; of a class outside the 90 nothing is asked."""
    images = {
        "a.png": [box(CAT, 5, 10)],
        "b.png": [box(CAT, 5, 9), box(CAT, 5, 9)],
        "c.png": [box(CAT, 1, 1), box(CAT, 50, 1), box("Animal-Real-Other", 90, 90)],
        "d.png": [],
    }
    path = put("searchad_annotations_val.json", images)
    put("searchad_annotations_train.json", {"t.png": [], "a.png": []})
    put("searchad_test_mapping_id_to_imagepath.json", {"0": "x.png", "1": "y.png"})
    for truth in (ev.read_truth("searchad", path), ev.read_truth("searchad", path.parent)):
        assert pairs(truth) == {(CAT, "a.png", "positive"), (CAT, "b.png", "ignore"), (CAT, "c.png", "positive")}
        assert (len(truth.queries), truth.gallery, truth.closed) == (90, 4, True)
        assert {split: ids.to_pylist() for split, ids in truth.elsewhere.items()} == {
            "train": ["t.png"],
            "test": ["x.png", "y.png"],
        }
        assert truth.about["supercategory"][truth.queries.index(CAT)] == "Animal"


def test_searchad_lists_of_its_prepare_step(put: Callable[[str, Any], Path]) -> None:
    path = put("searchad_val_image_level_annotations_min_box_50.json", {CAT: ["a.png"]})
    put("searchad_val_image_level_ignore_images_min_box_50.json", {CAT: ["b.png"], DOG: ["a.png"]})
    truth = ev.read_truth("searchad", path)
    assert pairs(truth) == {(CAT, "a.png", "positive"), (CAT, "b.png", "ignore"), (DOG, "a.png", "ignore")}
    assert (truth.gallery, truth.closed) == (None, False)  # what is searched these lists do not say


def test_the_prepare_step_says_what_the_annotations_say(shared: Path) -> None:
    case = shared / "golden" / "searchad" / "case_basic"
    lists = case / "expected" / "searchad_val_image_level_annotations_min_box_50.json"
    truth = ev.read_truth("searchad", case / "input" / "searchad_annotations_val.json")
    assert pairs(ev.read_truth("searchad", lists)) == pairs(truth)


def test_instre_counts_positives_from_one(tmp_path: Path) -> None:
    from scipy.io import savemat

    gnd = np.zeros((1, 2), dtype=[("ok", object), ("bbx", object)])
    gnd[0, 0] = (np.array([[1.0, 3.0]]), np.zeros((1, 4)))
    gnd[0, 1] = (np.array([[2.0]]), np.zeros((1, 4)))
    lists = {"imlist": ["S1/a/1.jpg", "M/b/2.jpg", "S1/a/3.jpg"], "qimlist": ["S1/a/9.jpg", "M/b/9.jpg"]}

    def saved(name: str, gnd: Any) -> Path:
        cells = {key: np.array([value], dtype=object) for key, value in lists.items()}
        savemat(str(tmp_path / name), {**cells, "gnd": gnd})
        return tmp_path / name

    truth = ev.read_truth("instre", saved("gnd_instre.mat", gnd))
    assert pairs(truth) == {
        ("S1/a/9.jpg", "S1/a/1.jpg", "positive"),
        ("S1/a/9.jpg", "S1/a/3.jpg", "positive"),
        ("M/b/9.jpg", "M/b/2.jpg", "positive"),
    }
    assert list(truth.about["supercategory"]) == ["S1", "M"]
    for wrong in (0.0, 4.0):
        gnd[0, 1] = (np.array([[wrong]]), np.zeros((1, 4)))
        with pytest.raises(SourceError, match="do not fit each other"):
            ev.read_truth("instre", saved("wrong.mat", gnd))
    (tmp_path / "cut.mat").write_bytes((tmp_path / "gnd_instre.mat").read_bytes()[:200])
    with pytest.raises(SourceError, match=r"cut\.mat, byte 128: an element of 264 bytes, and 64 are left"):
        ev.read_truth("instre", tmp_path / "cut.mat")


def test_ilias_ids_and_groups(put: Callable[[str, Any], Path], tmp_path: Path) -> None:
    put("image_ids/image_query_ids.txt", b"cup/query/Q.jpg, 0, 0\n")
    put("image_ids/text_query_ids.txt", b"cup/query/T.txt\nhat/query/T.txt\n")
    put("image_ids/positive_ids.txt", b"cup/pos/1.jpg, 0.5, 3\nhat/pos/1.jpg, 0.01, 40\n")
    put("image_ids/distractor_ids.txt.gz", b"not even gzip: it is never opened")
    taxonomy = put("misc/taxonomy.json", {"product": {"kitchen": {"mug": ["cup"]}}})
    for truth in (
        ev.read_truth("ilias", tmp_path),
        ev.read_truth("ilias", tmp_path / "image_ids", taxonomy=taxonomy),
    ):
        assert pairs(truth) == {
            ("cup/query/Q.jpg", "cup/pos/1.jpg", "positive"),
            ("cup/query/T.txt", "cup/pos/1.jpg", "positive"),
            ("hat/query/T.txt", "hat/pos/1.jpg", "positive"),
        }
        assert list(truth.about["kind"]) == ["image", "text", "text"]
        assert list(truth.about["supercategory"]) == ["product", "product", None]
        assert list(truth.about["category"]) == ["product-kitchen", "product-kitchen", None]
        assert truth.values["scale"].tolist() == [0.5, 0.01]


class _Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("it ran",))


DEEP = b"[" * 20_000 + b"]" * 20_000


def gnd(easy: Any = (), images: tuple[str, ...] = ("a", "b"), queries: tuple[str, ...] = ("q",)) -> bytes:
    rows = [{"easy": easy, "hard": [], "junk": [], "bbx": [0, 0, 1, 1]}]
    return pickle.dumps({"imlist": list(images), "qimlist": list(queries), "gnd": rows}, 2)


@pytest.mark.parametrize(
    ("preset", "name", "content", "said"),
    [
        ("searchad", "a.json", b"{", "cannot be read"),
        ("searchad", "a.json", b'{"a": [{"label": "x", "bbox": [1, 2, 3, 4], "z": %s}]}' % DEEP, "cannot be read"),
        ("revisitop", "gnd_x.pkl", gnd([1 << 70]), "is no ground truth of revisitop"),
        ("revisitop", "gnd_x.pkl", gnd([float("inf")]), "is no ground truth of revisitop"),
        ("revisitop", "gnd_x.pkl", gnd([0.5]), "0.5 is no place in a list"),
        ("revisitop", "gnd_x.pkl", gnd("01"), "'0' is no place in a list"),
        ("revisitop", "gnd_x.pkl", gnd([-1]), "do not fit each other"),
        ("revisitop", "gnd_x.pkl", gnd([0], images=("a", "b", "a")), "names a twice; expected every image once"),
        ("searchad", "a.json", {"a.png": [{"label": CAT}]}, "cannot be read"),
        ("revisitop", "gnd_x.pkl", pickle.dumps({"imlist": []}), "is no ground truth of revisitop"),
        ("revisitop", "gnd_x.pkl", pickle.dumps(_Trap()), "A01"),
        (
            "revisitop",
            "gnd_x.pkl",
            pickle.dumps({"imlist": ["a"], "qimlist": ["q"], "gnd": [{"easy": [1], "hard": [], "junk": []}]}),
            "do not fit each other",
        ),
        ("pixel_retrieval", "london.npy", b"", "is named otherwise"),
        ("ilias", "image_ids/positive_ids.txt", b"a/pos/1.jpg, 1, 2\n", "has no image_query_ids.txt"),
        ("soir", "anns.pt", b"PK\x03\x04", "anns.pt"),
    ],
)
def test_what_is_damaged_is_said(
    put: Callable[[str, Any], Path],
    capsys: pytest.CaptureFixture[str],
    preset: str,
    name: str,
    content: Any,
    said: str,
) -> None:
    path = put(name, content)
    with pytest.raises(CurateError, match=said):
        ev.read_truth(preset, path.parent if preset == "ilias" else path)
    assert "it ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("key", "file", "said"),
    [
        ("-1_0", "a.json", "names no query and image"),
        ("0_-1", "a.json", "names no query and image"),
        ("0_ 1", "a.json", "names no query and image"),
        ("0_2", "a.json", "names no query and image"),
        ("0_0", "a.json\0", "P01"),
        ("0_0", "far.json", r"far\.json: a coordinate is 1e\+06 px from the corner; expected at most 8,192 px"),
        ("0_0", "deep.json", "cannot be read"),
    ],
)
def test_pairs_and_outlines_that_cannot_be(put: Callable[[str, Any], Path], key: str, file: str, said: str) -> None:
    """A negative place would count from the end, and a canvas for a far point would not fit into memory."""
    put("revisitop/data/roxford5k/gnd_roxford5k.pkl", gnd([0, 1.0]))
    put("a.json", {"shapes": [{"points": [[0, 0], [5, 0], [5, 5]]}]})
    put("far.json", {"shapes": [{"points": [[0, 0], [1e6, 0], [5, 5]]}]})
    path = put("deep.json", b'{"shapes": [], "x": %s}' % DEEP).with_name("oxford_pair2labelpath.npy")
    np.save(path, np.array({"0_1": "a.json"}, dtype=object), allow_pickle=True)
    assert pairs(ev.read_truth("pixel_retrieval", path)) == {("q", "a", "easy"), ("q", "b", "easy")}
    np.save(path, np.array({key: file}, dtype=object), allow_pickle=True)
    with pytest.raises(SourceError, match=said):
        ev.read_truth("pixel_retrieval", path)


def test_byte_order_marks_are_no_obstacle(put: Callable[[str, Any], Path]) -> None:
    mark = b"\xef\xbb\xbf"
    annotations = put("searchad_annotations_val.json", mark + json.dumps({"a.png": [box(CAT, 9, 9)]}).encode())
    assert pairs(ev.read_truth("searchad", annotations)) == {(CAT, "a.png", "positive")}
    put("image_ids/image_query_ids.txt", mark + b"cup/query/Q.jpg, 1\n")
    lists = put("image_ids/positive_ids.txt", mark + b"cup/pos/1.jpg, 0.1, 2\n").parent
    assert pairs(ev.read_truth("ilias", lists)) == {("cup/query/Q.jpg", "cup/pos/1.jpg", "positive")}


def test_label_files_stay_below_their_folder(shared: Path, tmp_path: Path) -> None:
    """A pair whose label file lies elsewhere is refused; so is a folder of two cities."""
    case = shared / "golden" / "pixel_retrieval" / "case_1" / "pixel_retrieval_benchmarks"
    root = tmp_path / "benchmarks"
    shutil.copytree(case, root)
    with pytest.raises(UsageError, match="holds 2 files"):
        ev.read_truth("pixel_retrieval", root)
    path = root / "oxford_pair2labelpath.npy"
    np.save(path, np.array({"0_0": "../../secret.json"}, dtype=object), allow_pickle=True)
    with pytest.raises(SourceError, match="P01"):
        ev.read_truth("pixel_retrieval", path)
    np.save(path, np.array({"nobody": "a.json"}, dtype=object), allow_pickle=True)
    with pytest.raises(SourceError, match="names no query and image"):
        ev.read_truth("pixel_retrieval", path)
