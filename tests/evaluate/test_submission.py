"""Submissions: the devkit's own file, what is refused, and that a key scores numbers as it scores ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curate import evaluate as ev
from curate.build.hidden import build_hidden
from curate.dataset import Dataset, from_records
from curate.errors import SchemaError, SourceError, UsageError
from curate.evaluate import submission
from curate.model import Annotation, Category, Image, Info, Query, RelevanceRule

SENDER = {"team": " Team X ", "model": "ModelY", "about": "none", "search_mode": "Language"}
MAPPING = "searchad_test_mapping_id_to_imagepath.json"


def packed(form: Any, run: Path) -> tuple[submission.Submission, list[str]]:
    made, found = submission.pack(form, ev.read_results([run], form), submission.metadata(**SENDER))
    return made, [one.code for one in found]


def test_the_file_is_the_devkit_s(shared: Path) -> None:
    case = shared / "golden" / "searchad" / "case_basic"
    for truth in (case / "input", case / "input" / MAPPING):
        made, found = packed(submission.read_form(truth), case / "predictions_test.json")
        assert submission.text(made) == (case / "expected" / "submission.json").read_bytes()
        assert found == []


def test_an_import_of_searchad_packs_the_same(shared: Path) -> None:
    from curate.importing import import_source

    case = shared / "golden" / "searchad" / "case_basic"
    form = submission.read_form(import_source("searchad", case / "input", splits=["test"]))
    asked = {name.partition("/")[2] for name in form.queries}
    made, _ = packed(form, case / "predictions_test.json")
    expected = json.loads((case / "expected" / "submission.json").read_text())["predictions"]
    assert asked
    assert made.predictions == {label: numbers for label, numbers in expected.items() if label in asked}


def test_organisers_score_numbers_as_paths(shared: Path, tmp_path: Path) -> None:
    """With invented labels of SearchAD's test: the same scores from the paths and from the submission."""
    case = shared / "golden" / "searchad" / "case_basic"
    mapping = case / "input" / MAPPING
    (tmp_path / MAPPING).symlink_to(mapping)
    paths = list(json.loads(mapping.read_text()).values())
    labels = list(json.loads((case / "predictions_test.json").read_text()))
    key = {
        path: [{"label": label, "bbox": [0, 0, 9, 9]} for k, label in enumerate(labels) if (i * k) % 7 == 1]
        for i, path in enumerate(paths)
    }
    (tmp_path / "searchad_annotations_test.json").write_text(json.dumps(key))
    runs = [case / "predictions_test.json", case / "expected" / "submission.json"]
    a, b = (ev.evaluate("searchad", tmp_path / "searchad_annotations_test.json", [run]) for run in runs)
    assert 0 < a.values["MAP"] < 1
    assert (a.values, a.queries) == (b.values, b.queries)


@pytest.fixture
def hidden() -> tuple[Dataset, Dataset]:
    """A test of four images, of which c and d show a bus and e a car."""
    images = [Image(id=f"s/{key}", source="s", split="train" if key == "a" else "test") for key in "acdef"]
    shown = [("s/a", "car"), ("s/c", "bus"), ("s/d", "bus"), ("s/e", "car")]
    records = [
        *images,
        *(Annotation(id=f"{id}#0", image_id=id, category=name, x=0, y=0, w=9, h=9) for id, name in shown),
        *(Category(name=name) for name in ("bus", "car")),
        *(Query(id=f"q:{name}", kind="text", text=name, category=name) for name in ("bus", "car")),
    ]
    made = build_hidden(
        from_records(Info(name="d", relevance=RelevanceRule(target="category")), records), splits=["test"]
    )
    return made.public, made.key


def put(folder: Path, lists: dict[str, list[str]]) -> Path:
    path = folder / "run.json"
    path.write_text(json.dumps(lists))
    return path


FULL = {"bus": ["s/c", "s/e", "s/d", "s/f"], "car": ["s/f", "s/e", "s/d", "s/c"]}


def test_a_hidden_test_of_ours_is_scored_with_its_key(hidden: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    public, key = hidden
    run = put(tmp_path, FULL)
    made, found = packed(submission.read_form(public), run)
    assert found == []
    assert sorted(made.predictions["bus"]) == [0, 1, 2, 3]
    sent = tmp_path / "submission.json"
    sent.write_bytes(submission.text(made))
    a, b = (ev.evaluate("searchad", key, [path]) for path in (run, sent))
    assert a.values == b.values
    assert a.values["MAP"] == pytest.approx(((1 + 2 / 3) / 2 + 1 / 2) / 2)
    # The public part itself can score nothing.
    with pytest.raises(SourceError, match=r"no positive.*E10.*name the key"):
        ev.evaluate("searchad", public, [run])


@pytest.mark.parametrize(
    ("lists", "code", "said"),
    [
        ({"bus": FULL["bus"]}, "E03", "1 queries have no results (q:car)"),
        ({**FULL, "tram": ["s/c"]}, "E02", "1 queries are not in the truth (tram)"),
        ({**FULL, "car": ["s/f", "s/e"]}, "E07", "1 lists have fewer than 4 items"),
        ({**FULL, "car": [*FULL["car"], "s/a"]}, "E04", "belong to split train"),
        ({**FULL, "car": [*FULL["car"], "s/x"]}, "E05", "not in the gallery (s/x)"),
        ({**FULL, "car": [*FULL["car"], "s/f"]}, "E06", "1 lists name an item twice"),
    ],
)
def test_what_costs_score_is_found(
    hidden: tuple[Dataset, Dataset], tmp_path: Path, lists: dict[str, list[str]], code: str, said: str
) -> None:
    form = submission.read_form(hidden[0])
    made, found = submission.pack(form, ev.read_results([put(tmp_path, lists)], form), {})
    assert [one.code for one in found] == [code]
    assert said in found[0].message
    # What can be packed of it is: each image once, and none that is not of the test.
    for numbers in made.predictions.values():
        assert len(set(numbers)) == len(numbers)
        assert set(numbers) <= set(range(4))


def test_what_is_no_hidden_test(hidden: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    bare = from_records(Info(name="bare"), [Image(id="s/a", source="s"), Query(id="q", kind="text", text="x")])
    with pytest.raises(SchemaError, match=r"no image with a number.*curate build hidden"):
        submission.read_form(bare)
    with pytest.raises(SchemaError, match="has no queries"):
        submission.read_form(from_records(Info(name="bare"), [Image(id="s/a", source="s")]))
    with pytest.raises(SourceError, match="no such file"):
        submission.read_form(tmp_path)
    for content, said in [
        ({"0": "a", "1": "a"}, "gives an image two numbers"),
        ({"one": "a"}, "numbers an image 'one'"),
        (["a"], "cannot be read"),
    ]:
        (tmp_path / MAPPING).write_text(json.dumps(content))
        with pytest.raises(SourceError, match=said):
            submission.read_form(tmp_path)


def test_a_sender_has_a_name() -> None:
    with pytest.raises(UsageError, match="Team Name: is empty"):
        submission.metadata(**{**SENDER, "team": "  "})
    told = submission.metadata(**SENDER, uses_train=True, own_queries=True)
    assert (told["Team Name"], told["SearchAD Train"], told["Default Queries"]) == ("Team X", "Yes", "No")
