"""What people could not agree on: counted, listed, and opened as a new round."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from curate import store, verify
from curate.dataset import Dataset, from_records
from curate.errors import UsageError
from curate.model import Annotation, Category, Image, Info, Judgement, Query, SourceRecord
from curate.review import finish as finishing
from curate.review import folder, log, tasks
from curate.review.folder import Review
from curate.review.log import Did, Event
from curate.review.plan import Plan, items_of, preset

Curate = Callable[..., Any]


def row(image: str, person: str, x: float, category: str) -> Annotation:
    return Annotation(id=f"{image}#{person}{x:g}", image_id=image, category=category, x=x, y=1, w=9, h=9, area=81)


def _records() -> list[Any]:
    records: list[Any] = [Image(id=f"toy/{i}", source="toy", file_name="a", width=64, height=48) for i in range(3)]
    records += [Category(name="bus"), Category(name="car")]
    records += [Query(id="q", kind="text", text="it", group="g"), Query(id="other", kind="text", text="that")]
    records += [Judgement(query_id=q, image_id=f"toy/{i}", label="easy") for q in ("q", "other") for i in range(3)]
    return records


def dataset() -> Dataset:
    return from_records(Info(name="toy", sources={"toy": SourceRecord(title="Toy")}, roots={"toy": "x"}), _records())


def answered(review: Review, said: Callable[[str, str], dict[str, Any]]) -> Review:
    events = []
    for n, job in enumerate(review.state.jobs):
        place: dict[str, Any] = {"person": job.person, "item": job.item, "round": job.round}
        event = Event(key=f"1.t/{n}@t", kind="answer", annotation=f"1.t/{n}", revision="t", **place)
        events.append(msgspec.structs.replace(event, **said(job.item, job.person)))
    log.append(review.log, events)
    return folder.read(review.folder)


def consensus(path: Path, plan: Plan) -> Review:
    """In image 1 the two call one thing two names, and one of them sees one thing more."""

    def said(item: str, person: str) -> dict[str, Any]:
        if not item.startswith("toy/1"):
            return {}
        rows = [row("toy/1", person, 1, "car" if person == "p1" else "bus")]
        return {"objects": tuple(rows + ([row("toy/1", person, 30, "car")] if person == "p2" else []))}

    store.write(dataset(), path / "ds")
    return answered(folder.init(dataset(), str(path / "ds"), plan, path / "rounds"), said)


def test_status_lists_them_and_finish_says_how_to_go_on(curate: Curate, tmp_path: Path) -> None:
    consensus(tmp_path, preset("consensus", ("p1", "p2")))
    found = json.loads(curate("review", "status", "rounds", "--json").stdout)
    assert found["ties"] == [
        {"item": "toy/1", "kind": "label", "said": {"p1": "car", "p2": "bus"}},
        {"item": "toy/1", "kind": "existence", "said": {"p1": None, "p2": "car"}},
    ]
    text = curate("review", "status", "rounds").stdout
    assert "undecided in toy/1: p1 nothing, p2 car\n2 objects undecided" in text
    text = curate("review", "finish", "rounds", "-o", "done").stdout
    assert "\nto settle what is undecided: curate review init done --plan ties --annotator NAME -o NEW\n" in text
    assert (
        "1 items, rounds settle -> new"
        in curate("review", "init", "done", "--plan", "ties", "--annotator", "p3", "-o", "new").stdout
    )


def test_a_new_round_settles_them(tmp_path: Path) -> None:
    review = consensus(tmp_path, preset("consensus", ("p1", "p2")))
    first = finishing.finish(dataset(), review, ["bus", "car"], name="first").dataset
    store.write(first, tmp_path / "first")
    plan = preset("ties", ("p3",))
    made = folder.init(first, str(tmp_path / "first"), plan, tmp_path / "settle")
    assert [(item.id, item.ties) for item in made.items] == [("toy/1", 2)]
    (job,) = made.state.jobs
    shown = tasks.material(first, plan, made.items).shown(job)
    assert [one.id for one in shown] == ["toy/1#p11", "toy/1#p230"]

    def said(item: str, person: str) -> dict[str, Any]:
        did = (Did(shown[0].id, "unchanged", shown[0].id, 1.0), Did(shown[1].id, "deleted", shown[1].id))
        return {"objects": (shown[0],), "verdict": "fix", "did": did}

    done = finishing.finish(first, answered(made, said), ["bus", "car"], name="done")
    rows = {one["id"]: one for one in done.dataset.table("annotations").to_pylist()}
    assert {name: one["status"] for name, one in rows.items()} == {"toy/1#p11": "truth", "toy/1#p230": "rejected"}
    assert "tie" not in msgspec.json.decode(rows["toy/1#p11"]["attributes"])["review"]
    assert verify.verify(done.dataset, skip=["I"]).errors == 0
    with pytest.raises(UsageError, match="nothing in the dataset is undecided"):
        items_of(done.dataset, plan)


@pytest.mark.parametrize(("unit", "items"), [("group", ["toy/1@g"]), ("class", ["toy/1@bus", "toy/1@car"])])
def test_they_are_of_their_target(tmp_path: Path, unit: str, items: list[str]) -> None:
    first = consensus(tmp_path, preset("consensus", ("p1", "p2"), unit="image"))
    made = finishing.finish(dataset(), first, ["bus", "car"], name="first").dataset
    rows = made.table("annotations").to_pylist()
    ties = [msgspec.convert(one | {"attributes": None}, Annotation) for one in rows]
    names = ["bus", "car"] if unit == "class" else ["car", "car"]
    about = {"review": {"tie": "existence", "group": "g"}}
    ties = [
        msgspec.structs.replace(one, category=name, attributes=about) for one, name in zip(ties, names, strict=True)
    ]
    given = from_records(dataset().info, [*_records(), *ties])
    assert [item.id for item in items_of(given, preset("ties", ("p3",), unit=unit))] == items
