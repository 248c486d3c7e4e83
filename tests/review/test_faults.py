"""Whatever breaks between the review and the server, nothing is lost and nothing doubled, and one message says so.

Everything here is done to a real server, through a wire that cuts, holds or replaces answers.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from curate.errors import ReviewError
from curate.review import api as apis
from curate.review import sending
from curate.review.api import LostError, SlowError
from curate.review.plan import preset
from tests.review.conftest import (
    ONE,
    Studio,
    of_one,
    on_server,
    once_each,
    pull,
    push,
    review_of,
    through,
    work,
)
from tests.review.wire import Ask, Request, Wire, answer, trickle

Curate = Callable[..., "subprocess.CompletedProcess[str]"]


# ------------------------------------------------------------------------------------------------ answers cut or wrong


def before(request: Request, ask: Ask) -> bytes:
    return b""


def amid(request: Request, ask: Ask) -> bytes:
    whole = ask()
    return whole[: len(whole) - 1 - len(whole.partition(b"\r\n\r\n")[2]) // 2]


def after(request: Request, ask: Ask) -> bytes:
    ask()
    return b""


def error_before(request: Request, ask: Ask) -> bytes:
    return answer(502, "<html>bad gateway</html>", "text/html")


def error_after(request: Request, ask: Ask) -> bytes:
    ask()
    return answer(500, '{"detail": "database is locked"}')


HARMS = [before, amid, after, error_before, error_after]


@pytest.mark.parametrize("harm", HARMS)
def test_every_request_of_a_push_may_fail_once(studio: Studio, wire: Wire, tmp_path: Path, harm: Any) -> None:
    for number in range(100):
        (tmp_path / str(number)).mkdir()
        case = of_one(studio, tmp_path / str(number), 3)
        start = len(wire.seen)
        wire.rule = lambda request, ask, at=start + number: (harm if request.number == at else lambda _, ask: ask())(
            request, ask
        )
        for _ in range(2):  # where the push itself could not go on, its repetition does
            with suppress(LostError):
                push(studio, case, through(wire, studio))
                break
        assert once_each(studio, case), number
        projects = {task["project"] for task in on_server(studio, case)}
        assert len(projects) == 1
        if len(wire.seen) - start <= number:  # there was no such request: all have had their turn
            break
    assert number > 5


@pytest.mark.parametrize("harm", HARMS)
def test_every_request_of_a_pull_may_fail_once(studio: Studio, wire: Wire, tmp_path: Path, harm: Any) -> None:
    case = of_one(studio, tmp_path, 3)
    push(studio, case)
    work(studio, case, "p1", random.Random(0))
    for number in range(100):
        copy = case._replace(folder=tmp_path / f"copy{number}")
        shutil.copytree(case.folder, copy.folder)
        start = len(wire.seen)
        wire.rule = lambda request, ask, at=start + number: (harm if request.number == at else lambda _, ask: ask())(
            request, ask
        )
        assert pull(studio, copy, through(wire, studio)).new == 3
        assert {standing.status for standing in copy.read().state.items.values()} == {"accepted"}
        if len(wire.seen) - start <= number:
            break
    assert number >= 3


WRONG: list[tuple[str, Callable[[Request, Ask], Any], str]] = [
    ("401", lambda request, ask: answer(401, '{"detail": "Invalid token."}'), "refuses the token (401); log in and"),
    ("403", lambda request, ask: answer(403, '{"detail": "No."}'), 'refused (403): "No."'),
    ("500", lambda request, ask: answer(500), "failed (500): {}; repeat the command; nothing is done twice"),
    ("login", lambda request, ask: answer(302), "leads to another address"),
    ("html", lambda request, ask: answer(200, "<html>", "text/html"), "answered with something else than JSON"),
    ("other", lambda request, ask: answer(200, '{"ok": true}'), "answered with no list; is that Label Studio?"),
    ("rows", lambda request, ask: answer(200, '[["a"]]'), "answered with no list"),
    ("cut", amid, "the answer was cut off; repeat the command"),
    ("gone", before, "no answer (Remote end closed connection without response); is it running"),
    ("slow", lambda request, ask: time.sleep(1.5) or ask(), "no whole answer within 0.5 s; it may still be at work"),
    ("trickle", lambda request, ask: trickle(b" "), "no whole answer within 0.5 s"),
    ("slow error", lambda request, ask: [answer(500)[:-2], *trickle(b"")], "0.5 s"),
]


@pytest.mark.parametrize(("rule", "says"), [one[1:] for one in WRONG], ids=[one[0] for one in WRONG])
def test_one_clear_message(studio: Studio, wire: Wire, tmp_path: Path, rule: Any, says: str) -> None:
    case = of_one(studio, tmp_path, 1)
    wire.rule = rule
    limit = 0.5 if "0.5 s" in says else 60
    for do in (push, pull):
        with pytest.raises(ReviewError) as failed:
            do(studio, case, through(wire, studio, timeout=limit))
        assert says in failed.value.line
        assert failed.value.lines == [failed.value.line]
        assert studio.server.token not in failed.value.line


@pytest.mark.parametrize("verb", ["push", "pull"])
def test_a_time_limit_by_the_command_line(
    studio: Studio, wire: Wire, curate: Curate, tmp_path: Path, verb: str
) -> None:
    case = of_one(studio, tmp_path, 1)
    wire.rule = lambda request, ask: time.sleep(1.5) or ask()
    words = ["review", verb, case.folder, "--url", wire.url, "--images", studio.root, "--timeout", "0.5"]
    failed = curate(*words, code=1, env={**os.environ, "CURATE_LABEL_STUDIO_TOKEN": studio.server.token})
    assert "no whole answer within 0.5 s; it may still be at work" in failed.stderr
    assert failed.stderr.count("\n") == 1 and failed.stdout == ""


def test_the_end_of_a_list_is_an_error_404_of_the_server(
    studio: Studio, wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apis, "PAGE", 5)
    case = of_one(studio, tmp_path, 10)
    push(studio, case, through(wire, studio))
    assert push(studio, case, through(wire, studio)).there == 10
    work(studio, case, "p1", random.Random(0))
    assert pull(studio, case, through(wire, studio)).new == 10
    assert wire.statuses.count(404) >= 2  # ten tasks are two whole pages: the third is asked for, and is not there


# ---------------------------------------------------------------------------------------------------- large and slow


def test_bodies_are_kept_small_by_bytes(
    studio: Studio, wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "MOST_BYTES", 5_000)
    case = of_one(studio, tmp_path, 30)
    push(studio, case, through(wire, studio))
    sizes = [len(request.raw.partition(b"\r\n\r\n")[2]) for request in wire.seen if request.imports]
    assert len(sizes) > 2
    assert max(sizes) <= 5_002  # and the brackets
    assert once_each(studio, case)


def test_what_fits_into_no_request_is_said_before_it_is_sent(
    studio: Studio, wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "LIMIT", 300)
    case = of_one(studio, tmp_path, 1)
    with pytest.raises(ReviewError, match=r"task 0/0/p1/toy/000: 0 MiB; expected at most 0 MiB; show less"):
        push(studio, case, through(wire, studio))
    assert not [request for request in wire.seen if request.imports]


@pytest.mark.parametrize("status", [413, 500])
def test_what_is_refused_for_its_size_is_sent_in_smaller_parts(
    studio: Studio, wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """As by a proxy that allows 8 kB, whatever it calls that."""
    monkeypatch.setattr(sending, "MOST_BYTES", 40_000)
    case = of_one(studio, tmp_path, 30)
    wire.rule = lambda request, ask: answer(status) if len(request.raw) > 8_000 else ask()
    push(studio, case, through(wire, studio))
    assert once_each(studio, case)
    wire.rule = lambda request, ask: answer(status) if request.imports else ask()
    other = tmp_path / "other"
    other.mkdir()
    case = of_one(studio, other, 3)
    with pytest.raises(ReviewError, match=str(status)):
        push(studio, case, through(wire, studio))


def test_an_import_that_takes_too_long_is_not_sent_again_at_once(studio: Studio, wire: Wire, tmp_path: Path) -> None:
    case = of_one(studio, tmp_path, 5)
    go_on = threading.Event()

    def held(request: Request, ask: Ask) -> bytes:
        if request.imports:
            go_on.wait(30)
        return ask()

    wire.rule = held
    with pytest.raises(SlowError, match="nothing is done twice"):
        push(studio, case, through(wire, studio, timeout=5))
    assert sum(request.imports for request in wire.seen) == 1
    go_on.set()
    while not on_server(studio, case):
        time.sleep(0.1)
    assert push(studio, case)._asdict() == {"projects": 1, "tasks": 0, "there": 5}
    assert once_each(studio, case)


@pytest.mark.parametrize("when", ["during", "after"])
def test_an_import_that_nobody_waits_for_comes_late(studio: Studio, wire: Wire, tmp_path: Path, when: str) -> None:
    """Its sender was cut off and sent its tasks again; then the first import is committed all the same."""
    case = of_one(studio, tmp_path, 5)
    late, done = threading.Event(), threading.Event()

    def rule(request: Request, ask: Ask) -> bytes:
        if not request.imports:
            return ask()
        first = next(one for one in wire.seen if one.imports)
        if request is first:
            threading.Thread(target=lambda: (late.wait(60), ask(), done.set()), daemon=True).start()
            return b""
        if when == "during":
            late.set()
            assert done.wait(60)
        return ask()

    wire.rule = rule
    push(studio, case, through(wire, studio))
    if when == "after":
        late.set()
        assert done.wait(60)
        assert len(on_server(studio, case)) == 10
        # Somebody has begun with three of the copies before they are noticed: one done, one skipped, one a draft.
        hand = studio.hand("p1")
        copies = {task["data"]["key"]: task["id"] for task in on_server(studio, case)}  # the later ones
        answered, skipped, drafted = sorted(copies)[:3]
        hand.send("POST", f"/api/tasks/{copies[answered]}/annotations/", {"result": []})
        hand.send("POST", f"/api/tasks/{copies[skipped]}/annotations/", {"result": [], "was_cancelled": True})
        hand.send("POST", f"/api/tasks/{copies[drafted]}/drafts", {"result": []})
        push(studio, case)
        left = {task["data"]["key"]: task["id"] for task in on_server(studio, case)}
        assert {key: left[key] for key in (answered, skipped, drafted)} == {
            key: copies[key] for key in (answered, skipped, drafted)
        }
    assert once_each(studio, case)


def test_an_import_of_an_earlier_push_comes_late(studio: Studio, wire: Wire, tmp_path: Path) -> None:
    """That push was given up; the next one finds nothing there, sends all, and looks once more at the end."""
    case = of_one(studio, tmp_path, 5)
    late, done = threading.Event(), threading.Event()

    def held(request: Request, ask: Ask) -> bytes:
        if request.imports:
            late.wait(60)
        answered = ask()
        if request.imports:
            done.set()
        return answered

    def meets_it(request: Request, ask: Ask) -> bytes:
        if request.imports:
            late.set()
            assert done.wait(60)
        return ask()

    wire.rule = held
    with pytest.raises(SlowError):
        push(studio, case, through(wire, studio, timeout=5))
    assert (case.folder / ".sending").exists()
    wire.rule = meets_it
    assert push(studio, case, through(wire, studio))._asdict() == {"projects": 1, "tasks": 5, "there": 0}
    assert sum(request.imports for request in wire.seen) == 2
    assert once_each(studio, case)
    assert not (case.folder / ".sending").exists()


# -------------------------------------------------------------------------------------------------------- deletions


def test_a_project_deleted_while_it_is_filled(studio: Studio, wire: Wire, tmp_path: Path) -> None:
    case = of_one(studio, tmp_path, 4)

    def delete(request: Request, ask: Ask) -> bytes:
        if request.imports:
            studio.hand("p2").send("DELETE", request.path.removesuffix("/import"))
        return ask()

    wire.rule = delete
    with pytest.raises(ReviewError, match=r"refused \(404\).*somebody may have removed the project"):
        push(studio, case, through(wire, studio))
    wire.rule = lambda request, ask: ask()
    assert push(studio, case, through(wire, studio)).tasks == 4
    assert once_each(studio, case)


def test_a_project_deleted_while_it_is_read(studio: Studio, wire: Wire, tmp_path: Path) -> None:
    case = review_of(studio, tmp_path, preset("quick", ("p1", "p2"), **ONE), images=4)
    push(studio, case)
    for person in ("p1", "p2"):
        work(studio, case, person, random.Random(0))
    (first, *_) = sorted({task["project"] for task in on_server(studio, case)})

    def delete(request: Request, ask: Ask) -> bytes:
        if request.path == "/api/tasks/" and f"project={first}&".encode() in request.raw.replace(b" ", b"&"):
            with suppress(HTTPError):  # it is gone already
                studio.hand("p3").send("DELETE", f"/api/projects/{first}/")
        return ask()

    wire.rule = delete
    pulled = pull(studio, case, through(wire, studio))
    assert sum("was deleted on the server" in text for text in pulled.reports) == 1
    assert [standing.status for standing in case.read().state.items.values()].count("accepted") == 2
    push(studio, case)
    work(studio, case, "p1", random.Random(0))
    pull(studio, case)
    assert {standing.status for standing in case.read().state.items.values()} == {"accepted"}


def test_a_deleted_task_is_noticed_though_nothing_else_changed(studio: Studio, tmp_path: Path) -> None:
    case = of_one(studio, tmp_path, 3)
    push(studio, case)
    work(studio, case, "p1", random.Random(0))
    pull(studio, case)
    before = case.read().state
    gone = on_server(studio, case)[1]
    studio.hand("p2").send("DELETE", f"/api/tasks/{gone['id']}/")
    (text,) = pull(studio, case).reports
    assert f"/{gone['annotations'][0]['id']} was deleted on the server; what was pulled still counts" in text
    assert case.read().state.items == before.items
    assert pull(studio, case).new == 0
