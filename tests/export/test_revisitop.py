"""gnd_*.pkl: read by Python's pickle and by our own reader, imported back equal, scored as the golden file is."""

from __future__ import annotations

import pickle
import pickletools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate import store
from curate.dataset import Dataset, from_records
from curate.errors import SchemaError, UsageError
from curate.export import revisitop
from curate.importing import import_source
from curate.model import Annotation, Coverage, Image, Info, Judgement, Member, Query
from curate.plain_pickle import unpickle

Tree = Callable[[str], Path]


def small(*records: Any) -> Dataset:
    images = [Image(id=f"s/{key}", source="s", width=40, height=30) for key in ("q", "r", "x/1", "x/2", "y")]
    members = [Member(image_id=f"s/{key}", role="gallery") for key in ("x/1", "x/2", "y")]
    return from_records(Info(name="my cups"), [*images, *members, *records])


def truth(folder: Path, name: str = "my_cups") -> Any:
    return pickle.loads((folder / name / f"gnd_{name}.pkl").read_bytes())


def by_label(held: dict[str, Any]) -> dict[str, Any]:
    """Queries by name, the order of indices aside."""
    labels = ("easy", "hard", "junk")
    entries = zip(held["qimlist"], held["gnd"], strict=True)
    return {name: [*entry["bbx"], *(sorted(entry[label]) for label in labels)] for name, entry in entries}


def test_import_export_import(tree: Tree, tmp_path: Path) -> None:
    raw = tree("revisitop")
    first = import_source("revisitop", raw, options={"distractors": "all"})
    counts = revisitop.write(first, tmp_path / "out")
    assert counts == {
        "sets": 2,
        "images": 8,
        "queries": 5,
        "distractors": 4,
        "left_out_queries_without_image": 0,
        "unjudged_pairs_that_count_as_negative": 0,
    }
    for name in ("roxford5k", "rparis6k"):
        file = f"{name}/gnd_{name}.pkl"
        before, after = (pickle.loads((root / file).read_bytes()) for root in (raw, tmp_path / "out"))
        assert (after["imlist"], after["qimlist"]) == (before["imlist"], before["qimlist"])
        assert by_label(after) == by_label(before)
        shutil.copytree(raw / name / "jpg", tmp_path / "out" / name / "jpg")
    distractors = "revisitop1m/revisitop1m.txt"
    assert (tmp_path / "out" / distractors).read_bytes() == (raw / distractors).read_bytes()
    again = import_source("revisitop", tmp_path / "out", options={"distractors": "all"})
    assert again.fingerprints() == first.fingerprints()


def test_the_golden_truth_comes_back(shared: Path, tmp_path: Path) -> None:
    held = pickle.loads((shared / "golden/revisitop/case_1/gnd_synthetic.pkl").read_bytes())
    (tmp_path / "raw/roxford5k").mkdir(parents=True)
    (tmp_path / "raw/roxford5k/gnd_roxford5k.pkl").write_bytes(pickle.dumps(held, 2))
    revisitop.write(import_source("revisitop", tmp_path / "raw"), tmp_path / "out")
    found = truth(tmp_path / "out", "roxford5k")
    assert found["imlist"] == held["imlist"]
    assert by_label(found) == by_label(held)


def test_a_pickle_of_plain_values(tree: Tree, tmp_path: Path) -> None:
    revisitop.write(import_source("revisitop", tree("revisitop")), tmp_path / "out")
    data = (tmp_path / "out/roxford5k/gnd_roxford5k.pkl").read_bytes()
    codes = {code.name: argument for code, argument, _ in pickletools.genops(data)}
    assert codes["PROTO"] == 2
    assert not {"GLOBAL", "REDUCE", "BUILD", "INST", "OBJ", "NEWOBJ", "BINPUT", "LONG_BINPUT"} & codes.keys()
    assert unpickle(data).value == pickle.loads(data)


def test_grades_and_indices(tmp_path: Path) -> None:
    labels = {"s/x/1": "hard", "s/x/2": "ignore", "s/y": "easy"}
    dataset = small(
        Query(id="one", kind="box", image_id="s/q", x=0.25, y=2, w=0.85, h=4),
        Query(id="words", kind="text", text="a cup"),
        *(Judgement(query_id="one", image_id=image, label=label) for image, label in labels.items()),  # type: ignore[arg-type]
    )
    counts = revisitop.write(dataset, tmp_path / "out")
    assert truth(tmp_path / "out") == {
        "imlist": ["x_1", "x_2", "y"],
        "qimlist": ["q"],
        "gnd": [{"bbx": [0.25, 2, 1.1, 6], "easy": [2], "hard": [0], "junk": [1]}],
    }
    assert counts["left_out_queries_without_image"] == 1
    assert counts["unjudged_pairs_that_count_as_negative"] == 0


def test_relevance_from_annotations(tmp_path: Path) -> None:
    def shown(image: str, **more: Any) -> Annotation:
        return Annotation(id=f"s/{image}#0", image_id=f"s/{image}", instance="cup/1", x=3, y=4, w=5, h=6, **more)

    dataset = small(
        Query(id="box", kind="mask", image_id="s/q", annotation_id="s/q#0"),
        Query(id="whole", kind="image", image_id="s/r", instance="cup/1"),
        Coverage(scope="s/x/2", category="*", state="exhaustive"),
        *(shown("q"), shown("x/1"), shown("x/2", iscrowd=True)),
    )
    counts = revisitop.write(dataset, tmp_path / "out")
    box, image = truth(tmp_path / "out")["gnd"]
    assert box == {"bbx": [3, 4, 8, 10], "easy": [0], "hard": [], "junk": [1]}
    assert image == box | {"bbx": [0, 0, 40, 30]}
    assert counts["unjudged_pairs_that_count_as_negative"] == 2  # s/y, for both queries


def test_bad_datasets(tmp_path: Path) -> None:
    def refused(message: str, dataset: Dataset, **options: Any) -> None:
        with pytest.raises((SchemaError, UsageError), match=message):
            revisitop.write(dataset, tmp_path / "out", **options)
        assert not any(tmp_path.iterdir())

    one = Query(id="one", kind="image", image_id="s/q")
    refused("my cups: has no query with an image", small(Query(id="t", kind="text", text="cup")))
    refused("image s/q: has two queries", small(one, Query(id="two", kind="image", image_id="s/q")))
    twins = [Image(id="s/x_1", source="s"), Member(image_id="s/x_1", role="gallery")]
    refused("image s/x_1: would be named x_1 as s/x/1 is", small(one, *twins))
    unsized = [Image(id="s/z", source="s"), Query(id="z", kind="image", image_id="s/z")]
    refused("query z: has no box, and its image no size", small(*unsized))
    refused("--compat upstream", small(one), compat="upstream")


def test_by_command(tree: Tree, tmp_path: Path, curate: Callable[..., Any]) -> None:
    store.write(import_source("revisitop", tree("revisitop"), splits=("rparis6k",)), tmp_path / "ds")
    assert curate("export", "revisitop", "ds", "-o", "out").stdout.startswith("out: 1 sets, 3 images, 1 queries")
    before = (tmp_path / "out/rparis6k/gnd_rparis6k.pkl").read_bytes()
    curate("export", "revisitop", "ds", "-o", "out", "--overwrite")
    assert (tmp_path / "out/rparis6k/gnd_rparis6k.pkl").read_bytes() == before
    (tmp_path / "out/rparis6k/jpg").mkdir()
    (tmp_path / "out/rparis6k/jpg/mine.jpg").write_bytes(b"")
    assert (
        "is no output of this command" in curate("export", "revisitop", "ds", "-o", "out", "--overwrite", code=2).stderr
    )
