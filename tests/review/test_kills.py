"""Clients and servers killed at any moment, and two clients at once: nothing is lost and nothing doubled."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from curate.review import folder, log, server
from curate.review.api import LostError
from curate.review.plan import preset
from tests.review.conftest import (
    PEOPLE,
    Case,
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
from tests.review.wire import Ask, Request, Wire, wire_to

CLIENT = """
import sys, pathlib
import label_studio_sdk.base_client  # takes time, in which there would be nothing to kill
from curate import store
from curate.review import folder, rounds, sending, tasks
from curate.review.api import Api
review = folder.read(pathlib.Path(sys.argv[2]))
dataset = store.read(review.about.dataset)
sending.MOST_TASKS = 3
given = tasks.material(dataset, review.plan, review.items)
print("ready", flush=True)
sys.stdin.readline()
api = Api(sys.argv[3], sys.stdin.readline().strip())
if sys.argv[1] == "push":
    rounds.push(review, api, given, pathlib.Path(sys.argv[4]))
else:
    rounds.pull(review, api, given)
print("done", flush=True)
"""


def client(verb: str, studio: Studio, case: Case, url: str | None = None) -> subprocess.Popen[str]:
    """A push or pull in a process of its own, which has begun when this returns."""
    words = [sys.executable, "-c", CLIENT, verb, str(case.folder), url or studio.server.url, str(studio.root)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "ready\n"
    process.stdin.write(f"\n{studio.server.token}\n")
    process.stdin.flush()
    return process


@pytest.mark.parametrize("verb", ["push", "pull"])
def test_of_two_at_once_the_second_is_told_who_is_at_it(studio: Studio, wire: Wire, tmp_path: Path, verb: str) -> None:
    case = of_one(studio, tmp_path, 5)
    push(studio, case) if verb == "pull" else None
    go_on = threading.Event()
    wire.rule = lambda request, ask: (go_on.wait(60), ask())[1]
    first = client(verb, studio, case, wire.url)
    while not wire.seen:
        time.sleep(0.05)
    second = client(verb, studio, case, wire.url)
    _, errors = second.communicate(timeout=60)
    assert f"another {verb} is under way (process {first.pid}); wait for it to end" in errors
    assert len(wire.seen) == 1  # it did not even ask the server
    go_on.set()
    said, _ = first.communicate(timeout=60)
    assert said == "done\n"
    assert once_each(studio, case)


# ------------------------------------------------------------------------------------------------- the client is killed


def test_a_pusher_killed_twenty_times_leaves_every_task_once(studio: Studio, tmp_path: Path) -> None:
    case = review_of(studio, tmp_path, preset("consensus", PEOPLE))
    rng = random.Random(0)
    for _ in range(20):
        process = client("push", studio, case)
        time.sleep(rng.uniform(0, 0.8))
        process.kill()
        process.communicate()
    push(studio, case)
    assert once_each(studio, case)
    assert len(on_server(studio, case)) == 90


def test_a_puller_killed_all_the_time_writes_everything_once(studio: Studio, wire: Wire, tmp_path: Path) -> None:
    """There is always something new to be pulled, and whoever pulls it is killed, but for every fifth."""
    case = review_of(studio, tmp_path, preset("consensus", PEOPLE), images=30)
    push(studio, case)
    clean = case._replace(folder=tmp_path / "clean")
    shutil.copytree(case.folder, clean.folder)
    rng = random.Random(0)
    turn = killed = 0
    lines = len(case.read().events)
    while killed < 15:
        assert work(studio, case, PEOPLE[turn % 3], rng, most=2) == 2  # of 90 that there are
        turn += 1
        until = len(wire.seen) + min(rng.randrange(11), 8)  # requests; a whole pull has eight
        process = client("pull", studio, case, wire.url)
        if turn % 5:
            while len(wire.seen) < until and process.poll() is None:
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.05))
            process.kill()
        killed += "done" not in process.communicate()[0]
        events = log.load(case.folder / "events.jsonl")  # sound at every moment
        assert len(events) >= lines
        lines = len(events)
    assert lines > 3
    assert pull(studio, case).problems == ()
    assert pull(studio, case).new == 0
    assert pull(studio, clean).new == 2 * turn
    once = (case.folder / "events.jsonl").read_text("utf-8").splitlines()
    assert sorted(once) == sorted((clean.folder / "events.jsonl").read_text("utf-8").splitlines())
    assert len(once) == len(set(once)) == 3 + 2 * turn


# ------------------------------------------------------------------------------------------------- the server is killed


@pytest.fixture(scope="module")
def second(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A copy of the server, to be killed, which takes requests of at most 30 kB; the first serves the other tests."""
    data = tmp_path_factory.mktemp("second") / "data"
    shutil.copytree(studio.data, data, ignore=shutil.ignore_patterns("*.sqlite3*", "*.log"))
    copied = data / database(studio.data).name
    with closing(sqlite3.connect(database(studio.data))) as theirs, closing(sqlite3.connect(copied)) as ours:
        theirs.backup(ours)
    about = json.loads((data / "server.json").read_text("utf-8"))
    (data / "server.json").write_text(json.dumps({**about, "url": "http://127.0.0.1:9", "pid": 0}), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA_UPLOAD_MAX_MEMORY_SIZE", "30000")
        running = server.start(studio.program, data, studio.root)
        try:
            yield studio._replace(server=running, data=data)
        finally:
            assert server.stop(data)
            assert not server.stop(data)


def database(data: Path) -> Path:
    (file,) = data.glob("*.sqlite3")
    return file


def killed(studio: Studio) -> None:
    os.kill(server.opened(studio.data).pid, signal.SIGKILL)  # type: ignore[union-attr]
    while server.healthy(studio.server.url):
        time.sleep(0.05)


def started(studio: Studio) -> None:
    again = server.start(studio.program, studio.data, studio.root, int(studio.server.url.rpartition(":")[2]))
    assert (again.url, again.token) == (studio.server.url, studio.server.token)


def stored(studio: Studio) -> int:
    """Tasks in the database of a server that does not run."""
    with closing(sqlite3.connect(database(studio.data))) as held:
        return int(held.execute("select count(*) from task").fetchone()[0])


def test_the_servers_own_limit(second: Studio, tmp_path: Path) -> None:
    case = review_of(second, tmp_path, preset("pixel-retrieval", PEOPLE))
    folder.write_people(case.folder, {})
    with wire_to(second.server.url) as wire:
        push(second, case, through(wire, second))
    sizes = [len(request.raw) for request in wire.seen if request.imports]
    assert max(sizes) > 30_000  # all at once was too much ...
    assert 500 in wire.statuses
    assert once_each(second, case)  # ... and in parts it was not


@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_a_server_killed_at_an_import(second: Studio, tmp_path: Path, when: str) -> None:
    case = of_one(second, tmp_path, 30)
    tasks_before = []

    def rule(request: Request, ask: Ask) -> bytes:
        if not request.imports:
            return ask()
        if when == "during":
            with closing(sqlite3.connect(database(second.data), isolation_level=None)) as holder:
                holder.execute("begin immediate")  # the server waits for this: its own transaction is not over
                asking = threading.Thread(target=ask, daemon=True)
                asking.start()
                time.sleep(1.5)
                assert asking.is_alive()
                killed(second)
                asking.join()
        elif when == "after":
            assert ask().startswith(b"HTTP/1.1 201")
            killed(second)
        else:
            killed(second)
        return b""

    with closing(sqlite3.connect(database(second.data))) as held:
        tasks_before = held.execute("select count(*) from task").fetchone()[0]
    with wire_to(second.server.url) as wire:
        wire.rule = rule
        with pytest.raises(LostError, match="no answer"):
            push(second, case, through(wire, second))
    assert stored(second) - tasks_before == (30 if when == "after" else 0)
    with pytest.raises(LostError, match=r"no answer .*is it running \('curate review serve'\)\? repeat"):
        push(second, case)
    started(second)
    assert push(second, case)._asdict() == {
        "projects": 1,
        "tasks": 0 if when == "after" else 30,
        "there": 30 if when == "after" else 0,
    }
    assert once_each(second, case)


@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_a_server_killed_at_a_pull(second: Studio, tmp_path: Path, when: str) -> None:
    case = of_one(second, tmp_path, 4)
    folder.write_people(case.folder, {})
    push(second, case)
    for task in on_server(second, case):
        second.hand().send("POST", f"/api/tasks/{task['id']}/annotations/", {"result": [], "lead_time": 3.0})

    def rule(request: Request, ask: Ask) -> bytes:
        if b"fields=all" not in request.raw:
            return ask()
        whole = ask() if when != "before" else b""
        killed(second)
        return whole if when == "after" else whole[: len(whole) // 2]

    with wire_to(second.server.url) as wire:
        wire.rule = rule
        if when == "after":
            assert pull(second, case, through(wire, second)).new == 4
        else:
            with pytest.raises(LostError, match="no answer"):
                pull(second, case, through(wire, second))
            assert not [event for event in case.read().events if event.kind == "answer"]
    started(second)
    assert pull(second, case).new == (0 if when == "after" else 4)
    assert len([event for event in case.read().events if event.kind == "answer"]) == 4
    assert len(on_server(second, case)) == 4
