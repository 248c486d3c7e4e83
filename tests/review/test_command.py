"""``curate review``: from a dataset to a reviewed one on a real server, by the command line alone."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from curate import store
from curate.review import address, folder, tasks
from tests.review.conftest import PASSWORD, PEOPLE, Case, Studio, toy, work

Curate = Callable[..., "subprocess.CompletedProcess[str]"]
SCHEMAS = Path(__file__).resolve().parent.parent.parent / "schemas"
PLAN = """\
name: toy
annotators: [p1, p2, p3]
seed: 4711
rounds:
- {name: annotate, kind: annotate, copies: 2, tools: [polygon]}
"""


def said(schema: str, text: str) -> Any:
    value = json.loads(text)
    Draft202012Validator(json.loads((SCHEMAS / f"{schema}.json").read_text("utf-8"))).validate(value)
    return value


def test_a_review_by_the_command_line(studio: Studio, curate: Curate, tmp_path: Path) -> None:
    store.write(toy(studio.root, 6), tmp_path / "ds")
    (tmp_path / "plan.yaml").write_text(PLAN)
    server = ["--data", str(studio.data)]
    assert (
        "6 items, rounds annotate -> rounds"
        in curate("review", "init", "ds", "--plan", "plan.yaml", "-o", "rounds").stdout
    )
    for person in PEOPLE:
        joined = curate("review", "join", "rounds", person, f"{person}@example.org", *server).stdout
        assert joined == f"{person} has account {studio.people[person].user}\n"  # it was there: no password
    first = said("result-review-push", curate("review", "push", "rounds", "--json", *server).stdout)
    assert first == {"projects": 3, "tasks": 12, "there": 0}
    assert "0 tasks sent, 12 were there" in curate("review", "push", "rounds", *server).stdout
    refused = curate("review", "finish", "rounds", "-o", "done", code=1).stderr
    assert "6 items are open; finish the rounds, or give --partly" in refused
    opened = folder.read(tmp_path / "rounds")
    dataset = store.read(tmp_path / "ds")
    case = Case(tmp_path / "rounds", dataset, tasks.material(dataset, opened.plan, opened.items))
    for person in PEOPLE:
        work(studio, case, person, random.Random(person))
    pulled = said("result-review-pull", curate("review", "pull", "rounds", "--json", *server).stdout)
    assert pulled == {"events": 12, "reports": [], "problems": []}
    status = said("review-status", curate("review", "status", "rounds", "--json").stdout)
    assert status["items"] == {"accepted": 6}
    assert "annotate  p1" in curate("review", "status", "rounds").stdout
    found = said("review-agreement", curate("review", "agreement", "rounds", "--json").stdout)
    assert found["rounds"][0]["pairs"][0]["objects"] == 12
    assert "F1@50:95" in curate("review", "agreement", "rounds").stdout
    done = said("result-review-finish", curate("review", "finish", "rounds", "-o", "done", "--json").stdout)
    assert (done["accepted"], done["left"]) == (6, 0)
    assert done["truth"] + done["ties"] >= 6
    assert curate("verify", "done").returncode == 0
    answer = next(event for event in folder.read(tmp_path / "rounds").events if event.kind == "answer")
    taken = said("result-review-take", curate("review", "take", "rounds", answer.annotation, "--json").stdout)
    assert taken == {"taken": answer.key}
    for line in (tmp_path / "rounds/events.jsonl").read_text("utf-8").splitlines():
        said("review-event", line)
    for file in [*(tmp_path / "rounds").iterdir(), *(tmp_path / "done").iterdir()]:
        text = file.read_bytes()
        assert studio.server.token.encode() not in text
        assert b"@example.org" not in text or file.name == "people.json"


def test_another_server_by_address_and_token(studio: Studio, curate: Curate, tmp_path: Path) -> None:
    store.write(toy(studio.root, 2), tmp_path / "ds")
    curate("review", "init", "ds", "--plan", "quick", "--annotator", "p1", "--seed", "4712", "-o", "r")
    words = ["review", "push", "r", "--url", studio.server.url, "--images", str(studio.root)]
    assert "CURATE_LABEL_STUDIO_TOKEN: is not set" in curate(*words, code=2).stderr
    canary = "feedcanaryfeed"
    refused = curate(*words, code=1, env=os.environ | {"CURATE_LABEL_STUDIO_TOKEN": canary})
    assert "refuses the token (401)" in refused.stderr
    assert canary not in refused.stderr + refused.stdout
    pushed = curate(*words, env=os.environ | {"CURATE_LABEL_STUDIO_TOKEN": studio.tokens["p1"]})
    assert "1 tasks sent" in pushed.stdout  # a tenth of two, at least one
    assert "without an account, so that authorship is not checked: p1" in pushed.stdout


@pytest.mark.parametrize("kind", ["legacy", "personal"])
@pytest.mark.parametrize("where", ["environment", "file"])
def test_another_server_that_no_option_names(
    studio: Studio, curate: Curate, tmp_path: Path, personal_token: str, where: str, kind: str
) -> None:
    """Nothing was started here: address and token stand in the environment, or in the user's configuration, alone."""
    token = studio.server.token if kind == "legacy" else personal_token
    environment = {name: text for name, text in os.environ.items() if not name.startswith("CURATE_LABEL_STUDIO_")}
    environment["XDG_CONFIG_HOME"] = str(tmp_path / "config")
    if where == "environment":
        environment |= {address.URL: studio.server.url, address.TOKEN: token}
    else:
        file = tmp_path / "config" / "curate" / "label_studio.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"url": studio.server.url, "token": token}))
        file.chmod(0o600)
    store.write(toy(studio.root, 2), tmp_path / "ds")
    seed = str(4720 + 2 * (where == "file") + (kind == "personal"))
    curate("review", "init", "ds", "--plan", "quick", "--annotator", "p1", "--seed", seed, "-o", "r")
    said = [curate("review", "join", "r", "p1", studio.people["p1"].email, env=environment)]
    assert said[0].stdout == f"p1 has account {studio.people['p1'].user}\n"
    refused = curate("review", "push", "r", env=environment, code=2)
    assert "--images: is missing; expected the server's folder of local files" in refused.stderr
    said.append(curate("review", "push", "r", "--images", studio.root, env=environment))
    assert "1 tasks sent, 0 were there, in 1 projects" in said[1].stdout
    opened = folder.read(tmp_path / "r")
    dataset = store.read(tmp_path / "ds")
    case = Case(tmp_path / "r", dataset, tasks.material(dataset, opened.plan, opened.items))
    assert work(studio, case, "p1", random.Random(0)) == 1
    said.append(curate("review", "pull", "r", env=environment))
    assert said[2].stdout == "1 new events\n"
    assert [one.status for one in case.read().state.items.values()].count("accepted") == 1
    assert not (tmp_path / "label-studio").exists()
    for one in (*said, refused):
        assert token not in one.stdout + one.stderr
    for file in (tmp_path / "r").iterdir():
        assert token.encode() not in file.read_bytes(), file


def test_people_join_a_server_that_takes_no_legacy_tokens(
    studio: Studio, curate: Curate, tmp_path: Path, personal_token: str
) -> None:
    """As a Label Studio is when it is new: accounts are made, and nobody enters with their legacy token."""
    from label_studio_sdk.base_client import LabelStudioBase

    store.write(toy(studio.root, 2), tmp_path / "ds")
    curate("review", "init", "ds", "--plan", "quick", "--annotator", "late", "--seed", "4730", "-o", "r")
    settings = LabelStudioBase(base_url=studio.server.url, api_key=personal_token).jwt_settings
    words = ["review", "join", "r", "late", "late@example.org", "--url", studio.server.url]
    usual = {"api_tokens_enabled": True, "api_token_ttl_days": settings.get().api_token_ttl_days}
    settings.update(**usual, legacy_api_tokens_enabled=False)
    try:
        refused = curate(*words, code=1, env=os.environ | {address.TOKEN: studio.server.token})
        assert "refuses the token (401)" in refused.stderr
        joined = curate(*words, env=os.environ | {address.TOKEN: personal_token}).stdout
    finally:
        settings.update(**usual, legacy_api_tokens_enabled=True)
    (user,) = [one["id"] for one in studio.hand().get("/api/users/") if one["email"] == "late@example.org"]
    assert joined.startswith(f"late has account {user}; password, shown this once: ")
    assert folder.read(tmp_path / "r").people["late"].user == user


def test_a_new_account_gets_a_password_that_is_shown_once(studio: Studio, curate: Curate, tmp_path: Path) -> None:
    store.write(toy(studio.root, 2), tmp_path / "ds")
    curate("review", "init", "ds", "--plan", "quick", "--annotator", "new", "--seed", "4713", "-o", "r")
    words = ["review", "join", "r", "new", "new@example.org", "--data", studio.data]
    assert "password, shown this once" in curate(*words).stdout
    assert "password" not in curate(*words).stdout
    environment = os.environ | {"CURATE_LABEL_STUDIO_PASSWORD": PASSWORD}
    other = [*words[:4], "other@example.org", *words[5:]]
    assert PASSWORD not in curate(*other, env=environment).stdout
    hidden = curate(*words[:4], "third@example.org", *words[5:], "-q", code=2).stderr
    assert hidden.startswith("curate: -q: would hide the password of the new account third@example.org; set CURATE_")
    third = said("result-review-join", curate(*words[:4], "third@example.org", *words[5:], "--json", "-q").stdout)
    assert len(third["password"]) == 16
    again = said("result-review-join", curate(*words[:4], "third@example.org", *words[5:], "--json").stdout)
    assert again == {key: value for key, value in third.items() if key != "password"}
    assert "expected one of new" in curate(*words[:3], "p9", *words[4:], code=2).stderr


def test_serve_finds_the_server_that_runs(studio: Studio, curate: Curate) -> None:
    shown = said(
        "result-review-serve",
        curate("review", "serve", "--data", studio.data, "--root", studio.root, "--json").stdout,
    )
    assert (shown["url"], shown["pid"]) == (studio.server.url, studio.server.pid)
    assert "token" not in shown
    assert "password" not in shown


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["serve"], 2, "--root: is missing"),
        (["status", "."], 2, "is no review"),
        (["push", "r"], 2, "no server was started there"),
        (["init", "ds", "--plan", "best", "-o", "x"], 2, "neither file nor preset"),
        (["init", "ds", "--plan", "consensus", "--annotator", "p1", "-o", "x"], 2, "1 people; expected at least 2"),
        (["init", "ds", "--plan", "quick", "--annotator", "p1", "-o", "r"], 2, "already exists"),
        (["init", "ds", "--plan", "quick", "--annotator", "p1", "-o", "r", "--overwrite"], 2, "a review is a record"),
        (["init", "ds", "--plan", "quick", "--annotator", "p1", "--only", "no", "-o", "x"], 1, "no: No such file"),
        (["init", "ds", "--plan", "quick", "--annotator", "p1", "--only", "ds", "-o", "x"], 1, "ds: is a folder"),
        (["take", "r", "1.t/2"], 2, "not in the log"),
        (["finish", "r", "-o", "ds"], 2, "is also an input"),
    ],
)
def test_what_is_refused(curate: Curate, tmp_path: Path, words: list[str], code: int, says: str) -> None:
    store.write(toy(tmp_path, 2), tmp_path / "ds")
    curate("review", "init", "ds", "--plan", "quick", "--annotator", "p1", "-o", "r")
    before = sorted(path.name for path in tmp_path.iterdir())
    assert says in curate("review", *words, code=code).stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_review_of_given_images(curate: Curate, tmp_path: Path) -> None:
    store.write(toy(tmp_path, 5), tmp_path / "ds")
    (tmp_path / "queue.csv").write_text("annotation,image\ntoy/003#0,toy/003\ntoy/001#0,toy/001\n")
    curate(
        "review",
        "init",
        "ds",
        "--plan",
        "consensus",
        "--annotator",
        "a",
        "--annotator",
        "b",
        "--only",
        "queue.csv",
        "-o",
        "r",
    )
    assert [item.image_id for item in folder.read(tmp_path / "r").items] == ["toy/001", "toy/003"]


def test_another_dataset_than_at_the_start_is_noticed(curate: Curate, tmp_path: Path) -> None:
    store.write(toy(tmp_path, 2), tmp_path / "ds")
    curate("review", "init", "ds", "--plan", "quick", "--annotator", "p1", "-o", "r")
    store.write(toy(tmp_path, 3), tmp_path / "ds", overwrite=True)
    assert "is another dataset" in curate("review", "finish", "r", "--partly", "-o", "x", code=1).stderr
    assert not (tmp_path / "x").exists()
