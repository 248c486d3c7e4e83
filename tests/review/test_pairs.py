"""What a review of query groups leaves behind: judgements and coverage that claim no more than was looked at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from curate import store, verify
from curate.dataset import Dataset, from_records
from curate.model import Annotation, Category, Coverage, Image, Info, Judgement, Query, RelevanceRule, SourceRecord
from curate.review import finish as finishing
from curate.review import folder, log
from curate.review.finish import Finished
from curate.review.log import Did, Event
from curate.review.plan import Plan, preset

PEOPLE = ("p1", "p2", "p3")
RING = [1.0, 1.0, 21.0, 1.0, 21.0, 21.0, 1.0, 21.0]


def row(name: str, **changes: Any) -> Annotation:
    given: dict[str, Any] = {"category": "mug", "x": 1.0, "y": 1.0, "w": 20.0, "h": 20.0, "area": 400.0}
    return Annotation(id=name, image_id=name.partition("#")[0], polygons=[[RING]], **given | changes)


def dataset() -> Dataset:
    """Two queries for one mug, judged on three images; on image 2 all mugs are labelled."""
    records: list[Any] = [Image(id=f"toy/{i}", source="toy", width=64, height=48) for i in range(4)]
    records += [Category(name="mug")]
    place = {"x": 1.0, "y": 1.0, "w": 9.0, "h": 9.0}
    records += [Query(id=f"q{n}", kind="box", group="g", image_id="toy/3", category="mug", **place) for n in range(2)]
    records += [Judgement(query_id=f"q{n}", image_id=f"toy/{i}", label="easy") for n in range(2) for i in range(3)]
    records[-1] = msgspec.structs.replace(records[-1], label="junk")  # of q1 and image 2
    records.append(Coverage(scope="toy/2", category="mug", state="exhaustive"))
    source = SourceRecord(title="Toy", licence="CC0-1.0", citation="Toy, 2026")
    return from_records(Info(name="toy", sources={"toy": source}, relevance=RelevanceRule(target="category")), records)


def play(path: Path, plan: Plan, said: Callable[[str, int, str], dict[str, Any]]) -> Finished:
    """Every job is answered with what ``said`` has for its image, round and person."""
    store.write(dataset(), path / "ds")
    review = folder.init(store.read(path / "ds"), str(path / "ds"), plan, path / "rounds")
    for number in range(100):
        job = next((job for job in review.state.jobs if job.status == "open"), None)
        if job is None:
            break
        place = {"person": job.person, "item": job.item, "round": job.round, "attempt": job.attempt}
        key = f"1.t/{number}"
        event = Event(key=f"{key}@t", kind="answer", annotation=key, revision=f"t{number:03}", seconds=6.0, **place)
        given = said(job.item.partition("@")[0], job.round, job.person)
        log.append(review.log, [msgspec.structs.replace(event, **given)])
        review = folder.read(path / "rounds")
    return finishing.finish(store.read(path / "ds"), review, ["mug"], name="done")


def paper(image: str, round: int, person: str) -> dict[str, Any]:
    """Nothing is found in image 0; in image 1 the first refinement moves the outline."""
    if image == "toy/0":
        return {"verdict": "accept"}
    moved = round > 0 and image == "toy/1"
    made = row(f"{image}#{'moved' if moved else 'first'}", origin="human:p")
    if not round:
        return {"objects": (made,), "did": (Did(made.id, "added"),)}
    action = "moved" if moved and round == 1 else "unchanged"
    return {"objects": (made,), "verdict": "accept", "did": (Did(made.id, action, f"{image}#first", 0.9),)}  # type: ignore[arg-type]


def test_judgements_of_what_was_outlined_are_the_peoples(tmp_path: Path) -> None:
    done = play(tmp_path, preset("pixel-retrieval", PEOPLE), paper)
    last = {one["image_id"]: one["attributes"] for one in done.dataset.table("annotations").to_pylist()}
    who = {image: msgspec.json.decode(text)["review"]["people"][0] for image, text in last.items()}
    rows = {(one["query_id"], one["image_id"]): one for one in done.dataset.table("judgements").to_pylist()}
    told = {key: (one["label"], one["origin"], one["round"], one["annotation_id"]) for key, one in rows.items()}
    assert told == {
        ("q0", "toy/0"): ("easy", "source", None, None),  # that nobody found it may be their miss
        ("q1", "toy/0"): ("easy", "source", None, None),
        ("q0", "toy/1"): ("easy", f"human:{who['toy/1']}", 3, "toy/1#moved"),
        ("q1", "toy/1"): ("easy", f"human:{who['toy/1']}", 3, "toy/1#moved"),
        ("q0", "toy/2"): ("easy", f"human:{who['toy/2']}", 3, "toy/2#first"),
        ("q1", "toy/2"): ("junk", "source", None, None),
    }


def test_coverage_claims_one_thing_and_not_its_class(tmp_path: Path) -> None:
    done = play(tmp_path, preset("pixel-retrieval", PEOPLE), paper)
    coverage = {one["scope"]: (one["category"], one["state"]) for one in done.dataset.table("coverage").to_pylist()}
    assert coverage == {
        "toy/0": ("mug", "partial"),  # looked at, too
        "toy/1": ("mug", "partial"),
        "toy/2": ("mug", "exhaustive"),  # as it was
    }
    (rows,) = [one for one in done.dataset.table("coverage").to_pylist() if one["scope"] == "toy/1"]
    assert rows["origin"].startswith("human:p") and rows["round"] == 3


def test_the_lineage_says_what_is_claimed_and_what_rounds_changed(tmp_path: Path) -> None:
    done = play(tmp_path, preset("pixel-retrieval", PEOPLE), paper)
    assert done.dataset.info.command is not None
    first, second, pairs = done.dataset.info.command.steps
    assert first.what == "changed in round refine-1: 1 of 2 objects (50.0 %) that started from the earlier round"
    assert second.what == "changed in round refine-2: 0 of 2 objects (0.0 %) that started from the earlier round"
    assert first.counts == {"objects": 2, "changed": 1, "added": 0, "deleted": 0}
    assert pairs.what.startswith("pairs of query group and image: where people outlined what is asked for")
    assert pairs.counts == {"pairs": 3, "pairs outlined": 2, "pairs without": 1, "judgements": 3}


def test_it_verifies_and_a_release_and_info_print_it(curate: Callable[..., Any], tmp_path: Path) -> None:
    play(tmp_path, preset("pixel-retrieval", PEOPLE), paper)
    assert "changed in round refine-1: 1 of 2" in curate("review", "finish", "rounds", "-o", "done").stdout
    checked = verify.verify(store.read(tmp_path / "done"), skip=["I"])
    assert checked.errors == 0, checked.findings
    said = curate("info", "done").stdout
    assert "nothing is claimed of other things of its class: 3 judgements, 3 pairs, 2 pairs outlined" in said
    curate("release", "done", "-o", "done-1.0", "--version", "1.0")
    card = (tmp_path / "done-1.0/README.md").read_text()
    assert "changed in round refine-1: 1 of 2 objects" in card
    assert "no figures of their agreement were recorded" not in card
    assert "agreement of round" not in card


def test_what_is_not_agreed_on_is_not_claimed(tmp_path: Path) -> None:
    def said(image: str, round: int, person: str) -> dict[str, Any]:
        return {"objects": (row(f"{image}#{person}"),)} if (image, person) == ("toy/1", "p1") else {}

    done = play(tmp_path, preset("consensus", PEOPLE[:2], unit="group"), said)
    assert done.ties == 1
    assert {one["origin"] for one in done.dataset.table("judgements").to_pylist()} == {"source"}
    origins = {one["scope"]: one["origin"] for one in done.dataset.table("coverage").to_pylist()}
    assert origins == {"toy/0": "human:p1,p2", "toy/1": "human:p1,p2", "toy/2": "source"}


@pytest.mark.parametrize("name", ["mug", None])
def test_without_a_known_class_the_outlines_say_it(tmp_path: Path, name: str | None) -> None:
    bare = from_records(
        Info(name="toy"),
        [
            Image(id="toy/0", source="toy", width=9, height=9),
            Query(id="q", kind="text", text="it"),
            Category(name="mug"),
        ],
    )
    from curate.review import pairs

    one = pairs.Pair("toy/0", ("q",), ("p1",), 1, [row("toy/0#0")] if name else [])
    assert [made.category for made in pairs.looked(bare, [one])] == ([name] if name else [])
