"""A real Label Studio for the tests: installed once per machine, started once per run, on loopback and a free port."""

from __future__ import annotations

import http.cookiejar
import itertools
import json
import random
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from PIL import Image as PilImage

from curate import store
from curate.dataset import Dataset, from_records
from curate.model import Annotation, Category, Image, Info, Judgement, Query, SourceRecord
from curate.review import api as apis
from curate.review import folder, rounds, server, tasks
from curate.review.api import Api, join
from curate.review.plan import Plan, preset
from curate.review.server import Server
from tests.review.hand import Hand
from tests.review.wire import Wire, wire_to

PEOPLE = ("p1", "p2", "p3")
PASSWORD = "a long password 1"


class Studio(NamedTuple):
    """The running server, its folder, and where images lie."""

    server: Server
    data: Path
    root: Path
    program: Path
    tokens: dict[str, str]
    people: dict[str, folder.Person]

    def api(self, person: str | None = None) -> Api:
        return Api(self.server.url, self.tokens[person] if person else self.server.token, timeout=120)

    def hand(self, person: str | None = None) -> Hand:
        return Hand(self.server.url, self.tokens[person] if person else self.server.token)


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    base = tmp_path_factory.mktemp("studio")
    root = base / "root"
    (root / "pics ü#1").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(30):
        pixels = rng.integers(0, 255, (48, 64, 3), np.uint8)
        PilImage.fromarray(pixels).save(root / "pics ü#1" / f"{i:03}.png")
    program = server.install(server.home())
    running = server.start(program, base / "data", root, outlives=False)
    tokens, people = {}, {}
    try:
        admin = Api(running.url, running.token)
        for person in PEOPLE:
            email = f"{person}@example.org"
            tokens[person] = join(admin, email, PASSWORD)
            me = Hand(running.url, tokens[person]).get("/api/current-user/whoami")
            people[person] = folder.Person(user=me["id"], email=email)
        yield Studio(running, base / "data", root, program, tokens, people)
    finally:
        assert server.stop(base / "data")


def toy(root: Path, images: int = 30) -> Dataset:
    """Noise pictures with a box each as a proposal, and two query groups over them."""
    records: list[Any] = [Category(name="car"), Category(name="traffic sign")]
    for i in range(images):
        image = f"toy/{i:03}"
        records.append(Image(id=image, source="toy", file_name=f"{i:03}.png", width=64, height=48))
        box = {"x": 10.0 + i % 7, "y": 8.0, "w": 20.5, "h": 16.0, "area": 328.0}
        records.append(Annotation(id=f"{image}#0", image_id=image, category="car", status="proposal", score=0.5, **box))
        records.append(Judgement(query_id=f"toy/q{i % 2}", image_id=image, label="easy"))
    places = {"x": 5.0, "y": 6.0, "w": 30.0, "h": 20.0}
    records += [Query(id=f"toy/q{i}", kind="box", group=f"g{i}", image_id="toy/000", **places) for i in range(2)]
    info = Info(name="toy", sources={"toy": SourceRecord(title="Toy")}, roots={"toy": str(root / "pics ü#1")})
    return from_records(info, records)


class Case(NamedTuple):
    """A review of the toy dataset, and what its tasks are made from."""

    folder: Path
    dataset: Dataset
    material: tasks.Material

    def read(self) -> folder.Review:
        return folder.read(self.folder)


_SEEDS = itertools.count(1)


def review_of(studio: Studio, path: Path, plan: Plan, images: int = 30) -> Case:
    """A review of its own: the same plan over the same dataset would be the same review, and find its work."""
    plan = msgspec.structs.replace(plan, seed=next(_SEEDS))
    dataset = toy(studio.root, images)
    store.write(dataset, path / "ds")
    made = folder.init(dataset, str(path / "ds"), plan, path / "review")
    folder.write_people(made.folder, studio.people)
    return Case(made.folder, dataset, tasks.material(dataset, plan, made.items))


def work(
    studio: Studio, case: Case, person: str, rng: random.Random, reject: float = 0.0, most: int | None = None
) -> int:
    """Do the open tasks of one person, or so many, through the API, as the page would; gives how many."""
    hand = studio.hand(person)
    done = 0
    review = case.read()
    wanted = {job.key: job for job in review.state.jobs if job.status == "open" and job.person == person}
    for project in hand.pages("/api/projects/"):
        if review.about.id not in project["description"] or not project["description"].endswith(f"for {person}"):
            continue
        for task in list(hand.pages("/api/tasks", project=project["id"], fields="all")):
            if task["annotations"] or task["data"]["key"] not in wanted or done == most:
                continue
            result = [dict(region) for one in task["predictions"] for region in one["result"]]
            if not result:
                job = wanted[task["data"]["key"]]
                frame = case.material.frame(job)
                x = 5.0 + rng.randrange(20)
                ring = [x, 5.0, x + 30, 5.0, x + 30, 40.0, x, 40.0]
                row = Annotation(
                    id="new", image_id=frame.image_id, category="car", x=x, y=5, w=30, h=35, polygons=[[ring]]
                )
                result = tasks.regions_of([row], frame)
            if "verdict" in project["label_config"]:
                verdict = "reject" if rng.random() < reject else "accept"
                said = {"id": "v", "type": "choices", "from_name": "verdict", "to_name": "image"}
                result.append({**said, "value": {"choices": [verdict]}})
            body = {"result": result, "lead_time": 5.0 + rng.random()}
            hand.send("POST", f"/api/tasks/{task['id']}/annotations/", body)
            done += 1
    return done


def push(studio: Studio, case: Case, api: Api | None = None) -> rounds.Pushed:
    return rounds.push(case.read(), api or studio.api(), case.material, studio.root)


def pull(studio: Studio, case: Case, api: Api | None = None) -> rounds.Pulled:
    return rounds.pull(case.read(), api or studio.api(), case.material)


def on_server(studio: Studio, case: Case) -> list[dict[str, Any]]:
    """All tasks of a review."""
    hand = studio.hand()
    mark = case.read().about.id
    return [
        task
        for project in list(hand.pages("/api/projects/"))
        if mark in project["description"]
        for task in hand.pages("/api/tasks", project=project["id"], fields="all")
    ]


def once_each(studio: Studio, case: Case) -> bool:
    """Whether every open job has one task on the server, and nothing else is there."""
    keys = [task["data"]["key"] for task in on_server(studio, case)]
    return sorted(keys) == sorted(job.key for job in case.read().state.jobs)


@pytest.fixture(scope="session")
def personal_token(studio: Studio) -> str:
    """The personal access token of the administrator, made as on the account's page; there can be one."""
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    login = f"{studio.server.url}/user/login/"

    def csrf() -> str:
        return {cookie.name: cookie.value for cookie in jar}["csrftoken"] or ""

    opener.open(login).read()
    form = {"email": studio.server.email, "password": studio.server.password, "csrfmiddlewaretoken": csrf()}
    opener.open(urllib.request.Request(login, urllib.parse.urlencode(form).encode(), {"Referer": login})).read()
    headers = {"X-CSRFToken": csrf(), "Referer": login, "Content-Type": "application/json"}
    answer = opener.open(urllib.request.Request(f"{studio.server.url}/api/token/", b"{}", headers, method="POST"))
    return str(json.load(answer)["token"])


# One round, one person at a time, boxes only.
ONE = {"rounds": [{"name": "inspect", "kind": "inspect", "shows": "prelabels", "tools": ["box"]}]}


@pytest.fixture
def wire(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    monkeypatch.setattr(apis, "_WAITS", (0.01, 0.01))
    with wire_to(studio.server.url) as made:
        yield made


def through(wire: Wire, studio: Studio, timeout: float = 60) -> Api:
    """The administrator, who reaches the server by a wire only."""
    return Api(wire.url, studio.server.token, timeout=timeout)


def of_one(studio: Studio, path: Path, images: int = 5) -> Case:
    """A review by p1 alone."""
    return review_of(studio, path, preset("quick", ("p1",), **ONE), images)
