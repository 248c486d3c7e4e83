"""What goes to Label Studio and what comes back, by the SDK: once, unchanged, in time, to nobody else."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate.errors import ReviewError
from curate.review import api as apis
from curate.review.api import Api, LostError, RefusedError, SlowError
from tests.review.wire import Request, answer, told, trickle

CANARY = "feedcanaryfeed"
OPERATIONS: list[tuple[str, Callable[[Api], object]]] = [
    ("projects", lambda api: list(api.projects())),
    ("storages", lambda api: api.storages(1)),
    ("tasks", lambda api: list(api.tasks(1, "id"))),
    ("task", lambda api: api.task(1)),
    ("users", lambda api: api.users()),
    ("whoami", lambda api: api.whoami()),
    ("invitation", lambda api: api.invitation()),
]
CHANGES: list[tuple[str, Callable[[Api], object]]] = [
    ("project", lambda api: api.make_project(title="one")),
    ("storage", lambda api: api.make_storage(1, "/images")),
    ("import", lambda api: api.import_tasks(1, [{"data": {"key": "a"}}])),
    ("delete", lambda api: api.delete_tasks(1, [2], {"conjunction": "and", "items": []})),
    ("annotate", lambda api: api.annotate(1, [], 2.0)),
]


def cases(which: list[tuple[str, Any]]) -> Any:
    return pytest.mark.parametrize("do", [do for _, do in which], ids=[name for name, _ in which])


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apis, "_WAITS", (0.0, 0.0))


def personal(ends: float, name: str = "refresh") -> str:
    """A personal access token, as far as whoever does not know the server's key can read it."""
    parts = [{"alg": "HS256", "typ": "JWT"}, {"token_type": name, "exp": int(ends)}]
    return ".".join([*(base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts), "c2ln"])


def body_of(request: Request) -> bytes:
    return request.raw.partition(b"\r\n\r\n")[2]


# ------------------------------------------------------------------------------------------------------- how often


@cases(CHANGES)
@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503])
def test_what_changes_something_is_asked_for_once(do: Callable[[Api], object], status: int) -> None:
    """The SDK would ask three times."""
    with told(lambda request: answer(status, Retry_After="0")) as wire:
        with pytest.raises(ReviewError, match=str(status)):
            do(Api(wire.url, CANARY))
        assert len(wire.seen) == 1


@cases(CHANGES)
def test_a_change_without_an_answer_is_asked_for_once(do: Callable[[Api], object]) -> None:
    with told(lambda request: b"") as wire:
        with pytest.raises(LostError, match="no answer"):
            do(Api(wire.url, CANARY))
        assert len(wire.seen) == 1


@cases(OPERATIONS)
def test_what_reads_is_asked_for_three_times(do: Callable[[Api], object]) -> None:
    with told(lambda request: answer(502)) as wire:
        with pytest.raises(LostError, match="502"):
            do(Api(wire.url, CANARY))
        assert len(wire.seen) == 3


@cases(OPERATIONS)
def test_what_reads_is_not_asked_for_again_when_slow(do: Callable[[Api], object]) -> None:
    with told(lambda request: trickle(b" ", 0.05)) as wire:
        start = time.monotonic()
        with pytest.raises(SlowError, match=r"no whole answer within 0.3 s"):
            do(Api(wire.url, CANARY, timeout=0.3))
        assert time.monotonic() - start < 60  # a trickle has no end
        assert len(wire.seen) == 1


@cases([*OPERATIONS, *CHANGES])
def test_another_servers_answer_is_not_taken(do: Callable[[Api], object]) -> None:
    for said in ('"yes"', "[1]", '{"ok": {}}', "[" * 100_000, "\x00"):
        with told(lambda request, said=said: answer(200, said)) as wire:
            try:
                found = do(Api(wire.url, CANARY))
            except ReviewError as error:
                assert "is that Label Studio?" in error.line
            else:
                assert found is None  # of these changes, the answer says nothing that is needed


# ---------------------------------------------------------------------------------------------------- bit by bit


def test_numbers_and_texts_go_and_come_unchanged() -> None:
    numbers = [0.1 + 0.2, 100 / 3, 5e-324, 1.7976931348623157e308, -0.0, 2**53 + 1, 1e22, 12345678901234567890]
    text = 'ü "\\" 图 \u2028 \U0001f600 </script>'
    task = {"data": {"key": text, "image": "/data/local-files/?d=a%20b.png"}, "predictions": [{"result": numbers}]}
    row = {"id": 7, "created_at": "2026-01-02T03:04:05.060000Z", "data": task["data"], "result": numbers, "new": None}
    with told(lambda request: answer(200, json.dumps([row]))) as wire:
        api = Api(wire.url, CANARY)
        api.import_tasks(1, [task])
        assert json.loads(body_of(wire.seen[0])) == [task]
        assert repr(json.loads(body_of(wire.seen[0]))) == repr([task])
        (back,) = api.tasks(1)
        assert repr(back) == repr(row)


def test_the_body_is_no_longer_than_the_sender_counts() -> None:
    """Requests are cut by bytes before they are made."""
    tasks = [{"data": {"key": "ü" * 50, "n": i}} for i in range(20)]
    with told(lambda request: answer(201)) as wire:
        Api(wire.url, CANARY).import_tasks(1, tasks)
        assert len(body_of(wire.seen[0])) <= len(json.dumps(tasks, separators=(",", ":")))


# --------------------------------------------------------------------------------------------- the token, and to whom


def test_redirects_and_proxies_are_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    with told(lambda request: answer(200)) as elsewhere:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "https_proxy"):
            monkeypatch.setenv(name, elsewhere.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        for status in (301, 302, 307, 308):
            with told(lambda request, status=status: answer(status, Location=elsewhere.url)) as wire:
                with pytest.raises(RefusedError, match="leads to another address"):
                    Api(wire.url, CANARY).users()
                with pytest.raises(RefusedError, match="leads to another address"):
                    Api(wire.url, CANARY).import_tasks(1, [{"data": {}}])
                with pytest.raises(RefusedError, match="leads to another address"):
                    Api(wire.url, personal(time.time() + 1000)).users()
                assert len(wire.seen) == 3
        assert elsewhere.seen == []


def test_no_session_begins() -> None:
    """A cookie that came back would be asked for a form's token beside it."""
    with told(lambda request: answer(200, "[]", Set_Cookie="sessionid=abc; Path=/")) as wire:
        api = Api(wire.url, CANARY)
        assert api.users() == api.users() == []
        assert not [request for request in wire.seen if b"cookie:" in request.raw.lower()]


def exchanging(then: Callable[[Request, int], bytes], ends: float = 3000) -> Callable[[Request], bytes]:
    """A server that gives short-lived tokens of which it takes only the newest; ``then`` is told their number."""
    given = [0]

    def said(request: Request) -> bytes:
        if request.path.endswith("/api/token/refresh/"):
            given[0] += 1
            return answer(200, json.dumps({"access": personal(time.time() + ends + given[0], "access")}))
        return then(request, given[0])

    return said


def test_a_personal_token_is_exchanged_beside_the_folder_of_the_address() -> None:
    token = personal(time.time() + 100_000)
    with told(exchanging(lambda request, number: answer(200, "[]"))) as wire:
        assert Api(f"{wire.url}/studio/", token).users() == []
        assert [request.path for request in wire.seen] == ["/studio/api/token/refresh/", "/studio/api/users/"]
        assert token.encode() not in wire.seen[1].raw
        assert b"Authorization: Bearer ey" in wire.seen[1].raw


def test_a_short_lived_token_that_ended_early_is_exchanged_again_and_nothing_done_twice() -> None:
    """As if the server's clock were ahead: what was taken a moment ago is refused, and changes nothing."""
    done = []

    def then(request: Request, number: int) -> bytes:
        if len(wire.seen) > 2 and number == 1:
            return answer(401, '{"detail": "Token is invalid or expired"}')
        done.append(request.path)
        return answer(201, "[]")

    for change, path in (
        (lambda api: api.make_storage(1, "/images"), ["/api/storages/localfiles/"]),
        (lambda api: api.import_tasks(1, [{"data": {}}]), ["/api/current-user/whoami", "/api/projects/1/import"]),
    ):
        done.clear()
        with told(exchanging(then)) as wire:
            api = Api(wire.url, personal(time.time() + 100_000))
            assert api.users() == []
            change(api)
            assert done == ["/api/users/", *path]
            assert sum(request.path.endswith("/refresh/") for request in wire.seen) == 2


def test_a_personal_token_that_is_refused_is_not_tried_for_ever() -> None:
    with told(lambda request: answer(401, '{"detail": "no"}')) as wire:
        with pytest.raises(RefusedError, match=r"refuses the token \(401\)"):
            Api(wire.url, personal(time.time() + 100_000)).users()
        assert [request.path for request in wire.seen] == ["/api/token/refresh/"]
    with told(exchanging(lambda request, number: answer(401))) as wire:
        with pytest.raises(RefusedError, match=r"refuses the token \(401\)"):
            Api(wire.url, personal(time.time() + 100_000)).users()
        assert len(wire.seen) == 2
    with told(lambda request: answer(200, '{"token": 1}')) as wire:
        with pytest.raises(LostError, match=r"gave no short-lived token; is that Label Studio\?"):
            Api(wire.url, personal(time.time() + 100_000)).make_storage(1, "/images")
        assert len(wire.seen) == 1


def test_a_personal_token_that_has_ended_says_so() -> None:
    token = personal(time.time() - 100)
    with told(lambda request: answer(200)) as wire:
        with pytest.raises(RefusedError) as failed:
            Api(wire.url, token).users()
        assert failed.value.line.startswith("token of Label Studio: has expired")
        assert token not in failed.value.line
        assert wire.seen == []


def test_neither_token_nor_access_token_is_repeated() -> None:
    token, seen = personal(time.time() + 100_000), []

    def then(request: Request, number: int) -> bytes:
        access = request.raw.partition(b"Bearer ")[2].split(b"\r\n")[0].decode()
        seen.append(access)
        return answer(400, json.dumps({"detail": f"Bearer {access} of {token} is odd"}))

    with told(exchanging(then)) as wire:
        with pytest.raises(RefusedError, match=r"Bearer \*\*\* of \*\*\* is odd") as failed:
            Api(wire.url, token).users()
        assert seen[0] not in failed.value.line
        assert token not in repr(failed.value) + repr(Api(wire.url, token))


# ------------------------------------------------------------------------------------------------------ without it


def alone(before: str, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The command line, in a Python to which something was done before."""
    script = f"import sys\n{before}\nsys.argv = ['curate', *sys.argv[1:]]\nfrom curate import commands\n"
    script += "try:\n    commands.main()\nfinally:\n    print('MODULES', *sys.modules)\n"
    return subprocess.run([sys.executable, "-c", script, *words], cwd=folder, capture_output=True, text=True)


@pytest.fixture
def review(curate: Callable[..., Any], tmp_path: Path) -> Path:
    from curate import store
    from tests.review.conftest import toy

    store.write(toy(tmp_path, 2), tmp_path / "ds")
    curate("review", "init", "ds", "--plan", "quick", "--annotator", "p1", "-o", "r")
    config = tmp_path / "config" / "curate" / "label_studio.json"
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps({"url": "http://127.0.0.1:9", "token": CANARY}))
    config.chmod(0o600)
    return tmp_path


GONE = """
import importlib.abc
class No(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == 'label_studio_sdk':
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)
sys.meta_path.insert(0, No())
"""
BROKEN = GONE.replace("raise ModuleNotFoundError(f'No module named {name!r}', name=name)", "raise {error}")


@pytest.mark.parametrize("verb", ["push", "pull"])
@pytest.mark.parametrize(
    ("before", "says"),
    [
        (
            GONE,
            "label-studio-sdk: is not installed; expected it for Label Studio; install it: "
            "pip install 'curate[review]'\n",
        ),
        (
            BROKEN.format(error="AttributeError('numpy.dtype has changed')"),
            "label-studio-sdk: cannot be imported (AttributeError: numpy.dtype has changed); expected version 2.1 or "
            "later; install it anew: pip install --force-reinstall 'label-studio-sdk>=2.1'\n",
        ),
        (
            BROKEN.format(error="ModuleNotFoundError('No module named \\'nltk\\'', name='nltk')"),
            "label-studio-sdk: cannot be imported (No module named 'nltk'); expected version 2.1 or later; "
            "install it anew: pip install --force-reinstall 'label-studio-sdk>=2.1'\n",
        ),
    ],
    ids=["missing", "broken", "incomplete"],
)
def test_a_missing_or_broken_sdk_is_one_line(
    review: Path, monkeypatch: pytest.MonkeyPatch, verb: str, before: str, says: str
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(review / "config"))
    words = ["review", verb, "r", "--images", "."]
    if verb == "push":
        for i in range(2):
            (review / "pics ü#1").mkdir(exist_ok=True)
            (review / "pics ü#1" / f"{i:03}.png").touch()
    failed = alone(before, *words, folder=review)
    assert (failed.returncode, failed.stderr) == (1, f"curate: {says}")


def test_an_older_sdk_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one of the calls, or with another name for what it is given."""
    from label_studio_sdk.users.client import UsersClient

    monkeypatch.setattr(UsersClient, "list", lambda self: None)
    with told(lambda request: answer(200, "[]")) as wire:
        with pytest.raises(ReviewError, match=r"label-studio-sdk: failed .TypeError: .*expected version 2.1 or later"):
            Api(wire.url, CANARY).users()
        assert wire.seen == []


@pytest.mark.parametrize("words", [("--help",), ("push", "--help"), ("status", "r"), ("agreement", "r")])
def test_what_needs_no_server_does_not_wait_for_the_sdk(review: Path, words: tuple[str, ...]) -> None:
    done = alone("", "review", *words, folder=review)
    assert done.returncode == 0, done.stderr
    modules = {name.partition(".")[0] for name in done.stdout.partition("MODULES")[2].split()}
    assert not modules & {"label_studio_sdk", "httpx", "pydantic"}
    assert "click" in modules
