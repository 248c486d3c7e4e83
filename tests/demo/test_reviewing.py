"""The tour's review: three played people and a real Label Studio, from pairs without outlines to a verified dataset."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest

from curate import geometry, read
from curate.demo import people
from curate.label_studio.regions import Frame
from curate.model import Rle
from curate.review import folder
from curate.review.shapes import read_answer


def truth() -> people.Truth:
    mask = np.zeros((60, 80), bool)
    mask[20:40, 30:50] = True
    frame = Frame("toy/1", 80, 60, {"mug": "mug"}, {"mask": "mask"})
    return people.Truth(frame, "mug", geometry.rle_from_mask(mask))


def mask_of(result: list[dict]) -> Rle:
    answer = read_answer(result, truth().frame, origin="test", round=1, prefix="test")
    assert not answer.problems
    (change,) = answer.objects
    assert change.row.segmentation is not None
    return change.row.segmentation


def test_everybody_draws_in_a_way_of_their_own() -> None:
    given = truth()
    drawn = {person: mask_of(people.outlined(person, given)) for person in people.PEOPLE}
    assert geometry.rle_iou(drawn["p1"], given.mask) == 1
    assert geometry.rle_bounds(drawn["p2"]) == (29, 19, 22, 22)  # one pixel more on every side
    assert geometry.rle_bounds(drawn["p3"]) == (32, 22, 18, 18)  # one less, and one to the right and down
    assert geometry.rle_area(drawn["p2"]) == 20 * 20 + 4 * 20
    for person in people.PEOPLE:
        assert geometry.rle_iou(mask_of(people.outlined(person, given, slips=True)), given.mask) < people.FAIR


@pytest.mark.parametrize(
    ("of", "slips", "verdict", "iou"),
    [("p2", False, "fix", 1.0), ("p1", False, "accept", 1.0), ("p3", True, "reject", 0)],
)
def test_what_is_good_is_accepted_and_what_is_wrong_is_not(of: str, slips: bool, verdict: str, iou: float) -> None:
    shown = people.outlined(of, truth(), slips=slips)
    said = people.judged(shown, "p1", truth())
    answer = read_answer(said, truth().frame, origin="test", round=2, prefix="test")
    assert answer.verdict == verdict
    assert answer.note == (people.WRONG if verdict == "reject" else None)
    assert geometry.rle_iou(mask_of(said), truth().mask) == iou
    assert said[0]["id"] == shown[0]["id"]  # mended in its place, not drawn anew beside it


def test_three_people_at_a_real_server(tmp_path: Path, curate: Callable, browser) -> None:
    start = time.monotonic()
    done = json.loads(curate("demo", "-o", "demo", "--review", "--json").stdout)
    assert time.monotonic() - start < 300
    steps = {step["what"]: step["counts"] for step in done["steps"]}
    tour = tmp_path / "demo"
    assert done["errors"] == steps["verify reviewed"]["errors"] == 0
    assert steps["review in rounds"]["accepted"] == steps["review in rounds"]["pairs"] == 20
    assert steps["review in rounds"]["rejected"] > 0
    assert steps["review in rounds"]["answers"] == 20 * 3 + 2 * steps["review in rounds"]["rejected"]
    assert steps["review blindly"]["answers"] == 20 * 3
    # Nobody had two rounds of one pair.
    state = folder.read(tour / "rounds").state
    hands = {(job.item, job.round, job.person) for job in state.jobs}
    assert len({(item, person) for item, _, person in hands}) == len(hands) == 20 * 3
    # What was accepted is near the truth, and not equal to it.
    known = {
        (row["image_id"], row["category"]): row["segmentation"]
        for row in read(tour / "voxdet").table("annotations").to_pylist()
    }
    rows = [row for row in read(tour / "reviewed").table("annotations").to_pylist() if row["round"]]
    ious = [
        geometry.rle_iou(
            msgspec.convert(row["segmentation"], Rle), msgspec.convert(known[row["image_id"], row["category"]], Rle)
        )
        for row in rows
    ]
    assert len(ious) == 20 and min(ious) >= people.FAIR and 0.85 < np.mean(ious) < 1
    # The commands that it gives do the same by hand.
    by_hand = [line.split()[1:] for line in done["by_hand"] if " review " in line or "reviewed" in line]
    assert [words[:2] for words in by_hand][-3:] == [
        ["review", "agreement"],
        ["review", "finish"],
        ["verify", "reviewed"],
    ]
    (tour / "by-hand").mkdir()
    for words in by_hand:
        curate(*words, cwd=tour / "by-hand")
    assert read(tour / "by-hand/reviewed").fingerprint() == read(tour / "reviewed").fingerprint()
    found = json.loads(curate("review", "agreement", "../blind", "--json", cwd=tour / "by-hand").stdout)
    every = found["rounds"][0]["pairs"][0]
    assert every["objects"] == steps["review agreement"]["objects"] == 120
    assert round(100 * every["f1"]) == steps["review agreement"]["% F1 at IoU .5"] < 100
    page = tour / "agreement.html"
    assert "p1, p2 and p3 agree" in page.read_text("utf-8")
    assert browser.console(page) == []
    for file in tour.rglob("*"):  # the people's tokens and the server's secrets were elsewhere, and are gone
        assert file.name not in ("server.json", "tokens.json")


@contextmanager
def tour_with_a_server(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A tour that has started its server, which has this process id."""
    command = [sys.executable, "-m", "curate", "demo", "-o", "demo", "--review"]
    temporary = folder / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as running:
        until = time.monotonic() + 300
        while not (started := list(temporary.glob("*/server.json"))):
            assert running.poll() is None and time.monotonic() < until
            time.sleep(0.05)
        yield running, json.loads(started[0].read_text("utf-8"))["pid"]


def test_an_interrupted_tour_ends_its_server(tmp_path: Path) -> None:
    with tour_with_a_server(tmp_path) as (running, pid):
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=60)
    assert running.returncode == 130 and "Traceback" not in errors
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert list((tmp_path / "temporary").glob("curate-demo-*")) == []
    assert not (tmp_path / "demo").exists()


def test_a_killed_tour_ends_its_server(tmp_path: Path) -> None:
    with tour_with_a_server(tmp_path) as (running, pid):
        assert b"label-studio" in Path(f"/proc/{pid}/cmdline").read_bytes()
        running.kill()
        running.communicate()
    while Path(f"/proc/{pid}").exists():  # else the test's own limit is reached
        time.sleep(0.05)
