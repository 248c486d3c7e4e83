"""The real page in headless Chromium: log in, get the next task, see what was pushed, say accept, submit."""

from __future__ import annotations

import base64
import http.cookiejar
import json
import os
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from curate.review import rounds
from curate.review.plan import preset
from tests.review.conftest import PASSWORD, PEOPLE, Studio, review_of


class Page:
    """One tab, driven over Chromium's debugging pipe: JSON messages that end with a zero byte."""

    def __init__(self, read: int, write: int) -> None:
        self.read, self.write, self.number, self.rest = read, write, 0, b""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.number += 1
        message: dict[str, Any] = {"id": self.number, "method": method, "params": parameters}
        if getattr(self, "session", None):
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.rest:
                self.rest += os.read(self.read, 1 << 20)
            text, _, self.rest = self.rest.partition(b"\0")
            answer = json.loads(text)
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                found: dict[str, Any] = answer["result"]
                return found

    def value(self, script: str) -> Any:
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def wait(self, script: str, seconds: float = 90) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := self.value(script)):
            assert time.monotonic() < deadline, f"never came true: {script}\n{self.value('document.body.innerText')}"
            time.sleep(0.3)
        return found

    def picture(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextmanager
def page(folder: Path) -> Iterator[Page]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium is installed ('apt-get install chromium')")
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    flags += ["--remote-debugging-pipe", f"--user-data-dir={folder / 'profile'}", "--window-size=1400,900"]
    flags += ["--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"]
    shell = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
    process = subprocess.Popen(
        ["bash", "-c", shell, "bash", program, *flags], pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Page(ours_in, ours_out)
    finally:
        process.kill()
        process.wait()
        os.close(ours_in)
        os.close(ours_out)


def log_in(studio: Studio, person: str) -> list[http.cookiejar.Cookie]:
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    address = f"{studio.server.url}/user/login/"
    opener.open(address).read()
    csrf = {cookie.name: cookie.value for cookie in jar}["csrftoken"] or ""
    form = {"email": studio.people[person].email, "password": PASSWORD, "csrfmiddlewaretoken": csrf}
    opener.open(urllib.request.Request(address, urllib.parse.urlencode(form).encode(), {"Referer": address})).read()
    return list(jar)


def test_a_person_at_the_page(studio: Studio, tmp_path: Path) -> None:
    rule = {"name": "inspect", "kind": "inspect", "shows": "prelabels", "tools": ["box", "mask"]}
    case = review_of(studio, tmp_path, preset("quick", PEOPLE, unit="group", rounds=[rule]), images=3)
    rounds.push(case.read(), studio.api(), case.material, studio.root)
    (job,) = [job for job in case.read().state.jobs if job.person == "p1"]
    (project,) = [
        p for p in studio.api().pages("/api/projects/") if p["description"].endswith(rounds.mark(case.read(), 0, "p1"))
    ]
    with page(tmp_path) as tab:
        for cookie in log_in(studio, "p1"):
            tab.call("Network.setCookie", name=cookie.name, value=cookie.value, url=studio.server.url)
        tab.call("Page.navigate", url=f"{studio.server.url}/projects/{project['id']}/data/?labeling=1")
        tab.wait("window.Htx && Htx.annotationStore.selected && Htx.annotationStore.selected.regions.length == 1")
        tab.wait("[...document.images].some(i => i.naturalWidth == 64)")
        tab.wait("[...document.images].some(i => i.naturalWidth == 220)")  # the query, beside it
        tab.picture(tmp_path / "task.png")
        # The whole image is seen, not a part of it.
        assert tab.value("Htx.annotationStore.selected.names.get('image').zoomScale") == 1
        (shown,) = tab.value("Htx.annotationStore.selected.serializeAnnotation()")
        assert shown["value"]["rectanglelabels"] == ["car"]
        assert "issue loading" not in tab.value("document.body.innerText")
        tab.value("[...document.querySelectorAll('label')].find(e => e.innerText.trim().startsWith('accept')).click()")
        tab.value('document.querySelector(\'[aria-label="submit"], [aria-label="Submit current annotation"]\').click()')
        tab.wait("document.body.innerText.includes('No More Tasks')")
        tab.picture(tmp_path / "after.png")
    assert rounds.pull(case.read(), studio.api(), case.material).new == 1
    state = case.read().state
    (standing,) = [standing for item, standing in state.items.items() if item == job.item]
    (answer,) = standing.results
    assert (answer.verdict, answer.person, answer.foreign) == ("accept", "p1", False)
    assert [did.action for did in answer.did] == ["unchanged"]
    assert list(answer.objects) == case.material.rows[case.material.items[job.item].image_id]
    assert answer.seconds is not None
