"""The audit: what is a presumed negative, which are drawn, and the rate that comes out; played without a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate import store, verify
from curate.dataset import Dataset, from_records, table_of
from curate.errors import UsageError
from curate.label_studio.regions import regions_of
from curate.model import Annotation, Category, Coverage, Image, Info, SourceRecord
from curate.review import audit, finish, folder, log, measures, rounds
from curate.review.folder import Review
from curate.review.log import Event
from curate.review.plan import Plan, preset, with_sample
from tests.review.conftest import PEOPLE, Studio, review_of

PLACE: dict[str, Any] = {"x": 1.0, "y": 1.0, "w": 5.0, "h": 5.0, "area": 25.0}


def dataset(images: int = 40) -> Dataset:
    """Images 0 to 9 show cars; 10 has a car to be ignored, 11 a proposal; cars were not looked for in 12 and 13."""
    records: list[Any] = [Image(id=f"toy/{i:02}", source="toy", width=64, height=48) for i in range(images)]
    records += [Category(name="bus"), Category(name="car")]
    for i in range(12):
        more: dict[str, Any] = {"ignore": True} if i == 10 else {"status": "proposal"} if i == 11 else {}
        records.append(Annotation(id=f"toy/{i:02}#0", image_id=f"toy/{i:02}", category="car", **PLACE, **more))
    records.append(Coverage(scope="toy/12", category="car", state="partial"))
    records.append(Coverage(scope="toy/13", category="car", state="none"))
    records.append(Coverage(scope="toy/14", category="car", state="exhaustive"))
    return from_records(
        Info(name="toy", sources={"toy": SourceRecord(title="Toy", licence="CC0-1.0", citation="Toy, 2026")}), records
    )


def plan(**counts: int) -> Plan:
    return with_sample(preset("audit", ("p1",)), **counts)


def test_presumed_negatives_are_images_without_truth_that_were_looked_at() -> None:
    drawn = audit.draw(dataset(), plan(sample=1000))
    assert drawn.negatives == {"bus": 40, "car": 40 - 11 - 2}  # the proposal's image is one
    cars = [item.image_id for item in drawn.items if item.target == "car"]
    assert cars == ["toy/11", *(f"toy/{i}" for i in range(14, 40))]
    assert all(item.drawn and item.rank is None for item in drawn.items)


def test_a_sample_is_random_and_stays_the_same() -> None:
    first, again = (audit.draw(dataset(), plan(sample=8)).items for _ in range(2))
    assert first == again
    assert [item.id for item in first] == sorted(item.id for item in first)
    assert [item.target for item in first] == ["bus"] * 8 + ["car"] * 8  # shown class by class
    by_class = {name: {item.image_id for item in first if item.target == name} for name in ("bus", "car")}
    assert [len(those) for those in by_class.values()] == [8, 8]
    assert by_class["bus"] != by_class["car"]
    other = preset("audit", ("p1",), seed=1)
    assert {item.id for item in audit.draw(dataset(), with_sample(other, sample=8)).items} != {i.id for i in first}


def test_the_highest_ranked_negatives_are_drawn_too() -> None:
    ranks = {"car": ["toy/03", "toy/20", "toy/99", "toy/12", "toy/21", "toy/22"]}  # a positive, foreign, not looked for
    drawn = audit.draw(dataset(), plan(sample=0, ranked=2), ranks)
    assert [(item.id, item.rank, item.drawn) for item in drawn.items] == [
        ("car@toy/20", 2, False),
        ("car@toy/21", 5, False),
    ]
    both = audit.draw(dataset(), plan(sample=1000, ranked=2), ranks).items
    assert [(item.rank, item.drawn) for item in both if item.id == "car@toy/20"] == [(2, True)]
    with pytest.raises(UsageError, match="give --results"):
        audit.draw(dataset(), plan(ranked=2))


def test_a_class_to_be_ignored_is_drawn_only_where_it_is_asked_for() -> None:
    given = dataset()
    roles = [Category(name="DontCare", role="ignore"), Category(name="bus"), Category(name="car")]
    given = given.replace(categories=table_of("categories", roles))
    assert audit.draw(given, plan(sample=5)).negatives.keys() == {"bus", "car"}
    asked = preset("audit", ("p1",), classes=["DontCare"])
    assert audit.draw(given, asked).negatives == {"DontCare": 40}


def test_nothing_to_audit() -> None:
    with pytest.raises(UsageError, match="no class has a presumed negative"):
        audit.draw(dataset(2), preset("audit", ("p1",), classes=["car"]))
    with pytest.raises(UsageError, match="lorry not in the dataset"):
        audit.draw(dataset(), preset("audit", ("p1",), classes=["lorry"]))


def play(path: Path, made: Plan, shows: set[str], ranks: audit.Ranks | None = None, people: int = 1) -> Review:
    """An audit in which people mark a box in the items ``shows``; p2 sees nothing anywhere."""
    store.write(dataset(), path / "ds")
    review = folder.init(store.read(path / "ds"), str(path / "ds"), made, path / "rounds", ranks)
    events = []
    for n, job in enumerate(review.state.jobs):
        item = next(one for one in review.items if one.id == job.item)
        row = Annotation(id=f"{item.id}#{job.person}", image_id=item.image_id, category=item.target, **PLACE)
        events.append(
            Event(
                key=f"1.t/{n}@t",
                kind="answer",
                person=job.person,
                item=job.item,
                round=0,
                annotation=f"1.t/{n}",
                revision="t",
                objects=(row,) if job.item in shows and job.person == "p1" else (),
            )
        )
    log.append(review.log, events)
    return folder.read(path / "rounds")


def test_the_rate_of_missed_positives_by_class(tmp_path: Path) -> None:
    """Of 27 presumed negatives of car 20 are looked at; of bus 20 of 40."""
    made = plan(sample=20, ranked=2)
    drawn = audit.draw(dataset(), made, {"car": ["toy/20", "toy/21"]}).items
    sample = [item.id for item in drawn if item.target == "car" and item.drawn]
    missed = {sample[0], "car@toy/20"}
    review = play(tmp_path, made, missed, {"car": ["toy/20", "toy/21"]})
    bus, car = audit.rates(review.plan, review.state, review.items, review.about.negatives)
    in_sample = len(missed & set(sample))
    assert (car.negatives, car.looked, car.missed, car.ranked, car.found) == (27, 20, in_sample, 2, 1)
    assert car.rate == in_sample / 20
    assert (bus.missed, bus.rate, bus.low) == (0, 0.0, 0.0)
    assert bus.high == pytest.approx(1.96**2 / (20 + 1.96**2))  # Wilson's bound of none in 20: 16.1 %
    assert bus.line == "audit bus: 0.0 % missed positives (95 %: 0.0-16.1 %)"
    assert measures.measure(review).audit == (bus, car)


def test_where_all_were_looked_at_the_rate_is_known(tmp_path: Path) -> None:
    review = play(tmp_path, plan(sample=1000), {"car@toy/20", "car@toy/21"})
    _, car = audit.rates(review.plan, review.state, review.items, review.about.negatives)
    assert (car.looked, car.missed) == (27, 2)
    assert car.low == car.rate == car.high == 2 / 27


def test_before_anybody_has_looked_there_is_no_rate(tmp_path: Path) -> None:
    review = play(tmp_path, plan(sample=3), set())._replace(events=[])
    bus, _ = audit.rates(review.plan, review.state, review.items, review.about.negatives)
    assert (bus.rate, bus.low, bus.high, bus.open) == (None, 0, 1, 3)
    assert bus.line == "audit bus: nobody has looked yet"


def test_two_people_who_differ_leave_it_undecided(tmp_path: Path) -> None:
    made = preset("audit", ("p1", "p2"), rounds=[{"name": "a", "kind": "audit", "copies": 2, "sample": 1000}])
    review = play(tmp_path, made, {"car@toy/20"})
    _, car = audit.rates(review.plan, review.state, review.items, review.about.negatives)
    assert (car.looked, car.missed, car.undecided) == (26, 0, 1)


def test_the_finished_dataset_states_it(tmp_path: Path) -> None:
    review = play(tmp_path, plan(sample=1000), {"car@toy/20"})
    done = finish.finish(store.read(tmp_path / "ds"), review, ["bus", "car"], name="done")
    command = done.dataset.info.command
    assert command is not None
    assert [(step.what, step.counts) for step in command.steps] == [
        (
            "audit bus: 0.0 % missed positives (95 %: 0.0-0.0 %)",
            {"presumed negatives": 40, "looked at": 40, "missed": 0},
        ),
        (
            "audit car: 3.7 % missed positives (95 %: 3.7-3.7 %)",
            {"presumed negatives": 27, "looked at": 27, "missed": 1},
        ),
    ]
    found = {row["id"]: row["status"] for row in done.dataset.table("annotations").to_pylist()}
    assert found["car@toy/20#p1"] == "truth"  # what was missed is missed no longer
    coverage = {(row["scope"], row["category"]): row for row in done.dataset.table("coverage").to_pylist()}
    assert (coverage["toy/30", "car"]["state"], coverage["toy/30", "car"]["origin"]) == ("exhaustive", "human:p1")
    store.write(done.dataset, tmp_path / "done")
    checked = verify.verify(store.read(tmp_path / "done"), skip=["I"])
    assert checked.errors == 0, checked.findings


def test_an_audit_on_a_real_server(studio: Studio, tmp_path: Path) -> None:
    """Half of the presumed negatives of traffic sign show one after all; each task asks for one class."""
    made = preset("audit", PEOPLE, classes=["traffic sign"])
    case = review_of(studio, tmp_path, with_sample(made, sample=6), images=10)
    rounds.push(case.read(), studio.api(), case.material, studio.root)
    marked = 0
    for person in PEOPLE:
        hand = studio.hand(person)
        number = {rounds.mark(case.read(), 0, person)}
        for project in [one for one in hand.pages("/api/projects/") if one["description"] in number]:
            for task in list(hand.pages("/api/tasks", project=project["id"], fields="all")):
                assert task["data"]["title"] == "traffic sign"
                assert not task["predictions"]
                frame = case.material.frame(next(j for j in case.read().state.jobs if j.key == task["data"]["key"]))
                row = Annotation(id="new", image_id=frame.image_id, category="traffic sign", **PLACE)
                shows = marked < 3
                marked += shows
                body = {"result": regions_of([row], frame) if shows else [], "lead_time": 4.0}
                hand.send("POST", f"/api/tasks/{task['id']}/annotations/", body)
    rounds.pull(case.read(), studio.api(), case.material)
    review = case.read()
    (rate,) = measures.measure(review).audit
    assert (rate.category, rate.negatives, rate.looked, rate.missed) == ("traffic sign", 10, 6, 3)
    assert (rate.low, rate.high) == pytest.approx((0.1876, 0.8124), abs=5e-5)  # Wilson's bounds of 3 in 6
    done = finish.finish(case.dataset, review, ["traffic sign"], name="done")
    assert (done.truth, done.figures) == (3, (rate.line,))


def test_an_audit_by_the_command_line(curate: Callable[..., Any], tmp_path: Path) -> None:
    store.write(dataset(), tmp_path / "ds")
    (tmp_path / "run.json").write_text(json.dumps({"car": ["toy/20", "toy/03", "toy/21"], "bus": ["toy/00"]}))
    words = ["review", "init", "ds", "--plan", "audit", "--annotator", "p1", "--sample", "5", "--ranked", "2"]
    assert "items, rounds audit" in curate(*words, "--results", "run.json", "-o", "rounds").stdout
    said = curate("review", "agreement", "rounds").stdout
    assert "class  presumed negatives  looked at  missed" in said
    assert json.loads(curate("review", "agreement", "rounds", "--json").stdout)["audit"][1]["negatives"] == 27
    curate("review", "agreement", "rounds", "--html", "page.html")
    assert "Audit of presumed negatives" in (tmp_path / "page.html").read_text()


def test_the_card_of_a_release_prints_it(curate: Callable[..., Any], tmp_path: Path) -> None:
    play(tmp_path, plan(sample=20), set())
    for name, says in (("ds", "**not audited**"), ("done", "audit car: 0.0 % missed positives (95 %: 0.0-16.1 %)")):
        if name == "done":
            curate("review", "finish", "rounds", "-o", "done")
        curate("release", name, "-o", f"{name}-1.0", "--version", "1.0")
        assert says in (tmp_path / f"{name}-1.0" / "README.md").read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--plan", "audit", "--sample", "0"], "sample 0, ranked 0"),
        (["--plan", "audit", "--ranked", "5"], "give --results"),
        (["--plan", "quick", "--sample", "5"], "are for --plan audit"),
        (["--plan", "quick", "--results", "run.json"], "are for an audit"),
        (["--plan", "audit", "--ranked", "1", "--results", "run.json"], "no list is of a class"),
    ],
)
def test_what_is_refused(curate: Callable[..., Any], tmp_path: Path, words: list[str], says: str) -> None:
    store.write(dataset(), tmp_path / "ds")
    (tmp_path / "run.json").write_text('{"lorry": ["toy/20"]}')
    assert says in curate("review", "init", "ds", "--annotator", "p1", *words, "-o", "rounds", code=2).stderr
    assert not (tmp_path / "rounds").exists()
