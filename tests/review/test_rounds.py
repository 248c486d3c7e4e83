"""Rounds on a real Label Studio: three people, exactly once under kill, and nothing taken silently."""

from __future__ import annotations

import random
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from curate.errors import ReviewError, UsageError
from curate.review import folder, rounds, tasks
from curate.review.api import Api, LostError, RefusedError
from curate.review.plan import preset
from tests.review.conftest import PEOPLE, Studio, on_server, pull, push, review_of, through, work
from tests.review.wire import Wire

Curate = Callable[..., "subprocess.CompletedProcess[str]"]
QUICK = {"rounds": [{"name": "inspect", "kind": "inspect", "shows": "prelabels", "tools": ["box"]}]}


def test_the_process_of_the_paper_over_thirty_images(studio: Studio, tmp_path: Path) -> None:
    case = review_of(studio, tmp_path, preset("pixel-retrieval", PEOPLE))
    rng = random.Random(0)
    rejected = 0
    for step in range(30):
        state = case.read().state
        if all(standing.status != "open" for standing in state.items.values()):
            break
        first, again = push(studio, case), push(studio, case)
        assert again.tasks == 0
        assert again.there == first.tasks + first.there
        assert sum(work(studio, case, person, rng, reject=0.1 if step < 4 else 0) for person in PEOPLE)
        assert pull(studio, case).problems == ()
        rejected += sum(standing.rejections > 0 for standing in case.read().state.items.values())
    state = case.read().state
    assert {standing.status for standing in state.items.values()} == {"accepted"}
    assert len(state.items) == 30
    assert rejected
    for standing in state.items.values():
        (event,) = standing.results
        assert [did.action for did in event.did] == ["unchanged"]  # nobody touched what the first person drew
        assert event.objects[0].polygons is not None
        assert event.objects[0].round == 1
    keys = [task["data"]["key"] for task in on_server(studio, case)]
    assert len(keys) == len(set(keys)) == len(state.jobs)


def test_boxes_come_back_as_the_rows_they_were(studio: Studio, tmp_path: Path) -> None:
    case = review_of(studio, tmp_path, preset("quick", PEOPLE, **QUICK))
    push(studio, case)
    for person in PEOPLE:
        work(studio, case, person, random.Random(0))
    pull(studio, case)
    for item, standing in case.read().state.items.items():
        assert list(standing.results[0].objects) == case.material.rows[item]


def test_a_pull_with_nothing_new_reads_no_task(studio: Studio, wire: Wire, tmp_path: Path) -> None:
    case = review_of(studio, tmp_path, preset("quick", PEOPLE, **QUICK))
    push(studio, case)
    work(studio, case, "p1", random.Random(0))
    assert pull(studio, case).new == 10
    assert pull(studio, case, through(wire, studio)) == rounds.Pulled(0, (), ())
    asked = [urllib.parse.urlsplit(request.raw.split(b" ", 2)[1].decode()) for request in wire.seen]
    lists = [urllib.parse.parse_qs(one.query) for one in asked if one.path == "/api/tasks/"]
    assert len(asked) == 1 + len(lists) == 4  # the projects, and three people's tasks
    for query in lists:
        assert query["fields"] == ["task_only"]
        assert query["include"] == ["id,updated_at,total_annotations,cancelled_annotations"]


def test_edits_deletions_strangers_and_changed_configs_are_reported(studio: Studio, tmp_path: Path) -> None:
    case = review_of(studio, tmp_path, preset("quick", PEOPLE, **QUICK), images=6)
    push(studio, case)
    for person in PEOPLE:
        work(studio, case, person, random.Random(0))
    pull(studio, case)
    before = case.read().state
    hand = studio.hand("p2")
    mine = sorted((job for job in before.jobs if job.person == "p1"), key=lambda job: job.key)
    first, second = ((job.answer.annotation or "").rpartition("/")[2] for job in mine[:2] if job.answer)
    hand.send("PATCH", f"/api/annotations/{first}/", {"result": [], "lead_time": 1.0})
    hand.send("DELETE", f"/api/annotations/{second}/")
    pulled = pull(studio, case)
    after = case.read().state
    assert after.items == before.items  # nothing was taken
    assert [finding.code for finding in pulled.problems] == ["L09"]
    assert [event.foreign for event in after.reports if event.kind == "answer"] == [True]
    assert any("was deleted on the server" in text for text in pulled.reports)
    assert pull(studio, case).new == 0
    projects = [p for p in hand.pages("/api/projects/") if case.read().about.id in p["description"]]
    config = projects[0]["label_config"].replace("accept", "approve")
    hand.send("PATCH", f"/api/projects/{projects[0]['id']}/", {"label_config": config})
    assert any("labelling config was changed" in text for text in pull(studio, case).reports)
    hand.send("DELETE", f"/api/projects/{projects[1]['id']}/")
    assert any("was deleted on the server; pulled work still counts" in text for text in pull(studio, case).reports)
    assert case.read().state.items == before.items


def test_old_work_stays_with_the_account_that_did_it(studio: Studio, curate: Curate, tmp_path: Path) -> None:
    """p1 worked, and then joined with another account; p2 comes with the old one, and would get p1's work to judge."""
    case = review_of(studio, tmp_path, preset("pixel-retrieval", PEOPLE), images=3)
    push(studio, case)
    assert work(studio, case, "p1", random.Random(0)) == 1
    assert pull(studio, case).new == 1
    (done,) = [event for event in case.read().events if event.kind == "answer"]
    joined = {row["id"]: row["date_joined"] for row in studio.hand().get("/api/users/")}
    user = studio.people["p1"].user
    assert done.account == f"{user}.{joined[user]}"
    first, second, third = (studio.people[person] for person in PEOPLE)
    folder.write_people(case.folder, {"p1": third})
    words = ["review", "join", case.folder, "p2", first.email, "--data", studio.data]
    refused = curate(*words, code=2).stderr
    assert "p2: the account is that of p1, or was when they worked; expected one of their own" in refused
    assert case.read().people == {"p1": third}
    assert curate(*words[:3], "p1", *words[4:]).stdout == f"p1 has account {first.user}\n"  # back again
    there = on_server(studio, case)
    folder.write_people(case.folder, {"p1": third, "p2": first, "p3": second})  # by hand
    with pytest.raises(UsageError, match="p2: the account is that of p1, or was when they worked"):
        push(studio, case)
    assert on_server(studio, case) == there


def test_a_deleted_project_is_made_again_for_what_is_open(studio: Studio, tmp_path: Path) -> None:
    case = review_of(studio, tmp_path, preset("quick", ("p1",), **QUICK), images=4)
    push(studio, case)
    (project,) = {task["project"] for task in on_server(studio, case)}
    studio.hand("p1").send("DELETE", f"/api/projects/{project}/")
    (text,) = pull(studio, case).reports
    assert text.startswith("round inspect: the project of p1 was deleted on the server; pulled work still counts")
    assert [event.message for event in case.read().state.reports] == [text]
    assert push(studio, case).tasks == 4
    assert len(on_server(studio, case)) == 4
    assert pull(studio, case).reports == ()
    assert case.read().state.reports == ()


def test_a_changed_config_stops_the_push(studio: Studio, tmp_path: Path) -> None:
    case = review_of(studio, tmp_path, preset("quick", ("p1",), **QUICK), images=2)
    push(studio, case)
    (project,) = {task["project"] for task in on_server(studio, case)}
    xml = case.material.config(0).xml.replace('value="fix"', 'value="mend"')
    studio.hand().send("PATCH", f"/api/projects/{project}/", {"label_config": xml})
    with pytest.raises(ReviewError, match="labelling config was changed"):
        push(studio, case)


def test_skips_and_empty_answers_are_two_things(studio: Studio, tmp_path: Path) -> None:
    case = review_of(studio, tmp_path, preset("quick", ("p1",), **QUICK), images=2)
    push(studio, case)
    first, second = sorted(on_server(studio, case), key=lambda task: task["data"]["key"])
    hand = studio.hand("p1")
    hand.send("POST", f"/api/tasks/{first['id']}/annotations/", {"result": [], "was_cancelled": True})
    verdict = {"id": "v", "type": "choices", "from_name": "verdict", "to_name": "image", "value": {"choices": ["fix"]}}
    hand.send("POST", f"/api/tasks/{second['id']}/annotations/", {"result": [verdict]})
    hand.send("POST", f"/api/tasks/{first['id']}/drafts", {"result": [verdict]})  # unsent: left alone
    pull(studio, case)
    state = case.read().state
    assert [standing.status for standing in state.items.values()] == ["stuck", "accepted"]
    (answer,) = state.items["toy/001"].results
    assert (answer.objects, [did.action for did in answer.did]) == ((), ["deleted"])


def test_images_are_shown_and_nothing_else(studio: Studio, tmp_path: Path) -> None:
    case = review_of(studio, tmp_path, preset("quick", ("p1",), **QUICK), images=2)
    push(studio, case)
    url = studio.server.url + on_server(studio, case)[0]["data"]["image"]
    assert "%20" in url
    assert "%23" in url
    request = urllib.request.Request(url, headers={"Authorization": f"Token {studio.tokens['p1']}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.read()[:4] == b"\x89PNG"


def test_images_elsewhere_are_refused_before_anything_is_sent(studio: Studio, tmp_path: Path) -> None:
    case = review_of(studio, tmp_path, preset("quick", ("p1",), **QUICK), images=2)
    with pytest.raises(ReviewError, match="start the server with another --root"):
        tasks.task_of(case.read().state.jobs[0], case.material, studio.root / "pics ü#1")
    gone = case.material._replace(files=dict.fromkeys(case.material.files, tmp_path / "no.png"))
    with pytest.raises(ReviewError, match="not there"):
        rounds.push(case.read(), studio.api(), gone, studio.root)
    assert on_server(studio, case) == []


def test_what_the_server_refuses_is_one_clear_line(studio: Studio) -> None:
    canary = "0123canary0123"
    with pytest.raises(RefusedError) as error:
        list(Api(studio.server.url, canary).projects())
    assert "refuses the token (401)" in error.value.line
    assert canary not in error.value.line + repr(Api(studio.server.url, canary))
    with pytest.raises(RefusedError) as missing:
        studio.api().task(10**8)
    assert missing.value.status == 404
    with pytest.raises(LostError, match="no answer"):
        Api("http://127.0.0.1:9", "x").make_project(title="one")
    with pytest.raises(UsageError, match="expected http"):
        Api("file:///etc", "x")


def test_both_kinds_of_token_work(studio: Studio, wire: Wire, personal_token: str) -> None:
    assert personal_token.count(".") == 2
    api = Api(wire.url, personal_token)
    assert api.whoami()["email"] == studio.server.email
    assert list(api.projects()) is not None
    # It went nowhere but to the one address, and everything else is entered with what it was exchanged for.
    exchanges = [request.path for request in wire.seen if personal_token.encode() in request.raw]
    assert exchanges == ["/api/token/refresh/"]
    assert sum(b"Authorization: Bearer " in request.raw for request in wire.seen) == len(wire.seen) - 1 == 2
    assert Api(studio.server.url, studio.server.token).whoami()["email"] == studio.server.email


def test_secrets_stay_where_they_belong(studio: Studio, tmp_path: Path) -> None:
    case = review_of(studio, tmp_path, preset("quick", PEOPLE, **QUICK), images=3)
    push(studio, case)
    work(studio, case, "p1", random.Random(0))
    pull(studio, case)
    assert (studio.data / "server.json").stat().st_mode & 0o077 == 0
    assert studio.server.token not in repr(studio.server)
    for file in case.folder.rglob("*"):
        if file.is_file():
            text = file.read_text("utf-8")
            assert studio.server.token not in text
            assert file.name == "people.json" or "@example.org" not in text, file
    words = Path(f"/proc/{studio.server.pid}/cmdline").read_bytes()
    assert studio.server.token.encode() not in words
    assert studio.server.password.encode() not in words


def test_a_review_folder_is_made_once_and_read_with_care(studio: Studio, tmp_path: Path) -> None:
    case = review_of(studio, tmp_path, preset("quick", PEOPLE, **QUICK), images=3)
    with pytest.raises(UsageError, match="exists"):
        folder.init(case.dataset, "ds", case.material.plan, case.folder)
    with pytest.raises(UsageError, match="is no review"):
        folder.read(tmp_path)
    (case.folder / "items.jsonl").write_text("{")
    with pytest.raises(ReviewError, match="damaged"):
        case.read()
