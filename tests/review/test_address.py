"""Which server: named, in the environment, or configured; and that no secret is shown."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate import store
from curate.commands.review_options import server_of
from curate.errors import ReviewError, UsageError
from curate.review import address
from curate.review.api import Api, join
from curate.review.server import Server, _write
from tests.review.conftest import toy
from tests.review.wire import answer, told

CANARY = "feedcanaryfeed"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (address.URL, address.TOKEN):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


def configure(text: str, mode: int = 0o600) -> Path:
    path = address.file()
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def known(url: str) -> str:
    return json.dumps({"url": url, "token": CANARY})


def found(data: Path | None = None, url: str | None = None) -> Api:
    return server_of(data, url, Path("images"), 1.0)[0]


def test_what_is_named_goes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no server was started there"):
        found()
    configure(known("http://configured:1"))
    assert found().url == "http://configured:1"
    for folder, port in (("label-studio", 2), ("own", 5)):
        (tmp_path / folder).mkdir()
        _write(tmp_path / folder, Server(f"http://127.0.0.1:{port}", "t", "e", "p", 1, "root"))
    assert found().url == "http://127.0.0.1:2"
    monkeypatch.setenv(address.URL, "http://environment:3")
    with pytest.raises(UsageError, match="CURATE_LABEL_STUDIO_TOKEN: is not set"):
        found()  # the file's token is for its own server
    monkeypatch.setenv(address.TOKEN, "other")
    assert found().url == "http://environment:3"
    assert found(url="http://option:4").url == "http://option:4"
    assert found(data=tmp_path / "own").url == "http://127.0.0.1:5"


def test_the_file_gives_the_token_of_its_own_server(monkeypatch: pytest.MonkeyPatch) -> None:
    configure(known("http://host:1/"))
    given = address.named("http://host:1")
    assert given is not None
    assert given.token == CANARY
    assert CANARY not in repr(given)
    monkeypatch.setenv(address.TOKEN, "other")
    assert address.configured() == ("http://host:1/", "other")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_others_may_not_read_it(mode: int) -> None:
    path = configure(known("http://host:1"), mode)
    with pytest.raises(UsageError) as error:
        address.configured()
    assert error.value.line.endswith(f"mode {mode:o}: others may read the token; expected 600; chmod 600 {path}")


@pytest.mark.parametrize("text", ["", "[]", "{", f'{{"token": "{CANARY}"}}', f'{{"url": 1, "token": "{CANARY}"}}'])
def test_a_damaged_file(text: str) -> None:
    configure(text)
    with pytest.raises(UsageError, match="no address and token") as error:
        address.configured()
    assert CANARY not in error.value.line


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{CANARY}@host/",
        f"http://:{CANARY}@host/",
        f"ftp://user:{CANARY}@host",
        f"user:{CANARY}@host",
        f"http://host/?token={CANARY}",
        f"http://host/#{CANARY}",
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(UsageError, match="a user, password, query or fragment in it") as error:
        Api(url, "token")
    assert CANARY not in error.value.line


@pytest.mark.parametrize(
    "url", ["", "host:80", "ftp://host", "http://", "http://[1", "http://host:port", "http://a b", "http://ä"]
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(UsageError, match="expected http://host:port"):
        Api(url, "token")


@pytest.mark.parametrize("url", ["http://xn--.example", "http://999.1.1.1:80"])
def test_an_address_that_cannot_be_asked(url: str) -> None:
    with pytest.raises(UsageError, match="expected http://host:port") as error:
        Api(url, CANARY).users()
    assert error.value.line.startswith(f"address of Label Studio: {url} (")


def test_by_the_command_line(curate: Callable[..., Any], tmp_path: Path) -> None:
    store.write(toy(tmp_path, 2), tmp_path / "ds")
    curate("review", "init", "ds", "--plan", "consensus", "--annotator", "a", "--annotator", "b", "-o", "r")
    (tmp_path / "r/people.json").write_text('{"a": {"user": 2, "email": "a@example.org"}}')
    assert "b: the account is that of a" in curate("review", "join", "r", "b", "a@example.org", code=2).stderr
    assert "not-an-email: is no e-mail address" in curate("review", "join", "r", "b", "not-an-email", code=2).stderr
    words = ["review", "push", "r", "--images", "."]
    environment = os.environ | {address.URL: f"http://user:{CANARY}@host", address.TOKEN: CANARY}
    refused = curate(*words, code=2, env=environment)
    assert "a user, password, query or fragment in it" in refused.stderr
    assert CANARY not in refused.stderr + refused.stdout
    assert address.URL in curate("review", "push", "--help").stdout


def test_an_invitation_elsewhere_is_not_followed() -> None:
    """The new password would go there."""
    for said in ("@evil.example/u", "http://evil.example/u", None):
        with told(lambda request, said=said: answer(200, json.dumps({"invite_url": said}))) as wire:
            with pytest.raises(ReviewError, match=r"api/invite: answered with no path"):
                join(Api(wire.url, "token"), "p1@example.org", "secret")
            assert [request.path for request in wire.seen] == ["/api/invite"]
