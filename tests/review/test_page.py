"""The real page in headless Chromium: log in, get the next task, see what was pushed, accept or change it, submit.

Screenshots are kept in the folder that CURATE_ARTEFACTS names, or in the test's own.
"""

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

import numpy as np
import pytest
from PIL import Image as PilImage

from curate import store
from curate.dataset import Dataset, from_records
from curate.model import Annotation, Category, Image, Info, SourceRecord
from curate.review import folder, rounds, tasks
from curate.review.plan import preset
from tests.review.conftest import PASSWORD, PEOPLE, Case, Studio, pull, push, review_of, toy


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

    def mouse(self, kind: str, x: float, y: float) -> None:
        held = {"mouseMoved": "none", "mousePressed": "left", "mouseReleased": "left", "dragged": "left"}[kind]
        kind, buttons = ("mouseMoved", 1) if kind == "dragged" else (kind, int(kind == "mousePressed"))
        self.call(
            "Input.dispatchMouseEvent",
            type=kind,
            x=x,
            y=y,
            button=held,
            buttons=buttons,
            clickCount=int(held == "left"),
        )

    def click(self, x: float, y: float) -> None:
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.mouse(kind, x, y)

    def drag(self, x: float, y: float, right: float, down: float) -> None:
        self.mouse("mouseMoved", x, y)
        self.mouse("mousePressed", x, y)
        for step in range(1, 11):
            self.mouse("dragged", x + right * step / 10, y + down * step / 10)
        self.mouse("mouseReleased", x + right, y + down)

    def enter(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            code = {"key": key, "code": f"Digit{key}", "windowsVirtualKeyCode": ord(key), "text": key}
            self.call("Input.dispatchKeyEvent", type=kind, **code)

    def picture(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
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


@pytest.fixture
def artefacts(tmp_path: Path) -> Path:
    return Path(os.environ.get("CURATE_ARTEFACTS") or tmp_path)


@contextmanager
def at_the_task(studio: Studio, case: Case, folder: Path) -> Iterator[Page]:
    """The page as p1 sees it who asks for the next task: its regions are there, and its image."""
    mark = rounds.mark(case.read(), 0, "p1")
    (project,) = [p for p in studio.hand().pages("/api/projects/") if p["description"].endswith(mark)]
    with page(folder) as tab:
        for cookie in log_in(studio, "p1"):
            tab.call("Network.setCookie", name=cookie.name, value=cookie.value, url=studio.server.url)
        tab.call("Page.navigate", url=f"{studio.server.url}/projects/{project['id']}/data/?labeling=1")
        tab.wait("window.Htx && Htx.annotationStore.selected && Htx.annotationStore.selected.regions.length == 1")
        tab.wait("[...document.images].some(i => i.naturalWidth == 64)")
        yield tab


def submit(tab: Page, verdict: str | None = None) -> None:
    if verdict is not None:
        found = f"[...document.querySelectorAll('label')].find(e => e.innerText.trim().startsWith('{verdict}'))"
        tab.value(f"{found}.click()")
    tab.value('document.querySelector(\'[aria-label="submit"], [aria-label="Submit current annotation"]\').click()')
    tab.wait("document.body.innerText.includes('No More Tasks')")


def test_a_person_at_the_page(studio: Studio, tmp_path: Path, artefacts: Path) -> None:
    rule = {"name": "inspect", "kind": "inspect", "shows": "prelabels", "tools": ["box", "mask"]}
    case = review_of(studio, tmp_path, preset("quick", PEOPLE, unit="group", rounds=[rule]), images=3)
    rounds.push(case.read(), studio.api(), case.material, studio.root)
    (job,) = [job for job in case.read().state.jobs if job.person == "p1"]
    with at_the_task(studio, case, tmp_path) as tab:
        tab.wait("[...document.images].some(i => i.naturalWidth == 220)")  # the query, beside it
        tab.picture(artefacts / "task.png")
        # The whole image is seen, not a part of it.
        assert tab.value("Htx.annotationStore.selected.names.get('image').zoomScale") == 1
        (shown,) = tab.value("Htx.annotationStore.selected.serializeAnnotation()")
        assert shown["value"]["rectanglelabels"] == ["car"]
        assert "issue loading" not in tab.value("document.body.innerText")
        submit(tab, "accept")
        tab.picture(artefacts / "after.png")
    assert rounds.pull(case.read(), studio.api(), case.material).new == 1
    state = case.read().state
    (standing,) = [standing for item, standing in state.items.items() if item == job.item]
    (answer,) = standing.results
    assert (answer.verdict, answer.person, answer.foreign) == ("accept", "p1", False)
    assert [did.action for did in answer.did] == ["unchanged"]
    assert list(answer.objects) == case.material.rows[case.material.items[job.item].image_id]
    assert answer.seconds is not None


# The image on the screen: left, top, and how many pixels of the screen one of its own takes.
FRAME = """(() => {
  const shown = [...document.images].find(i => i.naturalWidth == 64).getBoundingClientRect();
  return [shown.left, shown.top, shown.width / 64, shown.height / 48, innerWidth, innerHeight];
})()"""


def test_a_box_changed_by_hand_comes_back_at_its_new_pixels(studio: Studio, tmp_path: Path, artefacts: Path) -> None:
    rule = {"name": "inspect", "kind": "inspect", "shows": "prelabels", "tools": ["box"]}
    case = review_of(studio, tmp_path, preset("quick", ("p1",), rounds=[rule]), images=1)
    push(studio, case)
    (row,) = case.material.rows["toy/000"]
    assert (row.x, row.y, row.w, row.h) == (10.0, 8.0, 20.5, 16.0)
    with at_the_task(studio, case, tmp_path) as tab:
        left, top, scale, other, *_ = tab.value(FRAME)
        assert scale == pytest.approx(other, rel=0.01)
        tab.picture(artefacts / "box-before.png")
        tab.drag(left + 20 * scale, top + 16 * scale, 12 * scale, 9 * scale)  # by its middle
        tab.picture(artefacts / "box-moved.png")
        tab.click(left + 32 * scale, top + 25 * scale)  # selects it, so that it has handles
        tab.wait("Htx.annotationStore.selected.regions[0].selected")
        tab.drag(left + 42.5 * scale, top + 33 * scale, 5 * scale, 4 * scale)  # by its lower right corner
        tab.picture(artefacts / "box-resized.png")
        submit(tab, "fix")
    assert pull(studio, case).problems == ()
    (standing,) = case.read().state.items.values()
    (answer,) = standing.results
    (made,) = answer.objects
    assert (answer.verdict, made.category, made.parent_id, made.origin) == ("fix", "car", row.id, "human:p1")
    assert (made.x, made.y, made.w, made.h) == pytest.approx((22.0, 17.0, 25.5, 20.0), abs=0.2)
    (did,) = answer.did
    assert (did.action, did.shown) == ("moved", row.id)
    inter, both = (10.0 + 20.5 - 22.0) * (8.0 + 16.0 - 17.0), 20.5 * 16.0 + 25.5 * 20.0
    assert did.iou == pytest.approx(inter / (both - inter), abs=0.01)


def boxes_of_p1(studio: Studio, path: Path, dataset: Dataset, kind: str, seed: int) -> Case:
    """A review with one round of p1's, who is shown the boxes of the dataset."""
    store.write(dataset, path / "ds")
    rule = {"name": kind, "kind": kind, "shows": "prelabels", "tools": ["box"]}
    plan = preset("quick", ("p1",), rounds=[rule], seed=seed)
    made = folder.init(dataset, str(path / "ds"), plan, path / "review")
    folder.write_people(made.folder, studio.people)
    return Case(made.folder, dataset, tasks.material(dataset, plan, made.items))


def turned_picture(studio: Studio, path: Path) -> Case:
    """A picture of 48 x 64 px that is shown as 64 x 48 (EXIF orientation 6), red where its one box is."""
    pixels = np.full((64, 48, 3), 40, np.uint8)
    pixels[10:30, 8:24] = (230, 20, 20)
    picture = PilImage.fromarray(pixels)
    exif = picture.getexif()
    exif[0x0112] = 6
    (studio.root / "turned").mkdir()
    picture.save(studio.root / "turned" / "a.jpg", quality=95, exif=exif)
    image = Image(id="turned/a", source="turned", file_name="a.jpg", width=48, height=64, orientation=6)
    box = {"x": 8.0, "y": 10.0, "w": 16.0, "h": 20.0, "area": 320.0}
    row = Annotation(id="turned/a#0", image_id="turned/a", category="car", status="proposal", score=0.5, **box)
    info = Info(
        name="turned", sources={"turned": SourceRecord(title="T")}, roots={"turned": str(studio.root / "turned")}
    )
    dataset = from_records(info, [Category(name="car"), image, row])
    return boxes_of_p1(studio, path, dataset, "inspect", seed=91)


def test_a_picture_that_browsers_turn(studio: Studio, tmp_path: Path, artefacts: Path) -> None:
    """The box lies over the red on the screen; moved there, it comes back moved in the picture as it is stored."""
    case = turned_picture(studio, tmp_path)
    push(studio, case)
    with at_the_task(studio, case, tmp_path) as tab:
        left, top, scale, other, *_ = tab.value(FRAME)
        assert scale == pytest.approx(other, rel=0.01)
        tab.picture(artefacts / "turned.png")
        (shown,) = tab.value("Htx.annotationStore.selected.serializeAnnotation()")
        assert (shown["original_width"], shown["original_height"]) == (64, 48)
        seen = np.asarray(PilImage.open(artefacts / "turned.png").convert("RGB")).astype(int)
        red = (seen[:, :, 0] > 150) & (seen[:, :, 1] < 100) & (seen[:, :, 2] < 100)
        rows, columns = np.nonzero(red[int(top) : int(top + 48 * scale), int(left) : int(left + 64 * scale)])
        around = [columns.min() / scale, rows.min() / scale, columns.max() / scale, rows.max() / scale]
        assert around == pytest.approx([34, 8, 54, 24], abs=1.5)  # 64 - 10 - 20, 8, and 20 x 16 from there
        value = shown["value"]
        box = [value["x"] * 0.64, value["y"] * 0.48, value["width"] * 0.64, value["height"] * 0.48]
        assert box == pytest.approx([34, 8, 20, 16], abs=0.01)
        tab.drag(left + 44 * scale, top + 16 * scale, 5 * scale, 3 * scale)
        submit(tab, "fix")
    assert pull(studio, case).problems == ()
    (standing,) = case.read().state.items.values()
    (made,) = standing.results[0].objects
    # To the right on the screen is up in the stored picture, and down is to the right.
    assert (made.x, made.y, made.w, made.h) == pytest.approx((11.0, 5.0, 16.0, 20.0), abs=0.2)


SHOWN = "[...document.querySelectorAll('.lsf-labels .lsf-label')].filter(e => e.offsetParent)"
LABELS = f"{SHOWN}.map(e => e.querySelector('.lsf-label__text').innerText)"
LABEL = "Htx.annotationStore.selected.serializeAnnotation()[0].value.rectanglelabels"


def many_classes(studio: Studio, path: Path) -> Case:
    """One image, and ninety classes in nine groups."""
    small = toy(studio.root, 1)
    records: list[Any] = [Category(name=f"class {i:02}", supercategory=f"group {i % 9}") for i in range(90)]
    records.append(Image(id="toy/000", source="toy", file_name="000.png", width=64, height=48))
    box = {"x": 10.0, "y": 8.0, "w": 20.5, "h": 16.0, "area": 328.0}
    records.append(
        Annotation(id="toy/000#0", image_id="toy/000", category="class 35", status="proposal", score=0.5, **box)
    )
    dataset = from_records(small.info, records)
    return boxes_of_p1(studio, path, dataset, "refine", seed=90)


def test_ninety_classes_stay_usable(studio: Studio, tmp_path: Path, artefacts: Path) -> None:
    case = many_classes(studio, tmp_path)
    push(studio, case)
    with at_the_task(studio, case, tmp_path) as tab:
        tab.picture(artefacts / "ninety.png")
        left, top, scale, _, width, height = tab.value(FRAME)
        assert top < height / 2 and scale * 64 > width / 2  # the labels have not pushed the image off the page
        assert len(tab.value(LABELS)) == 90
        groups = [label.split("/")[0] for label in tab.value(LABELS)]
        assert groups == sorted(groups)
        tab.click(left + 20 * scale, top + 16 * scale)
        tab.wait("Htx.annotationStore.selected.regions[0].selected")
        assert tab.value(LABEL) == ["group 8/class 35"]
        tab.press("3")  # a hotkey, as the page names it
        assert tab.wait(f"{LABEL}[0] != 'group 8/class 35' && {LABEL}") == ["group 0/class 18"]
        x, y = tab.value(
            "(() => { const box = document.querySelector('[placeholder=\"Quick Filter\"]').getBoundingClientRect();"
            " return [box.left + 40, box.top + 8]; })()"
        )
        tab.click(x, y)
        tab.enter("class 42")
        tab.wait(f"{LABELS}.length == 1")
        tab.picture(artefacts / "ninety-filtered.png")
        assert tab.value(LABELS) == ["group 6/class 42"]
        tab.value(f"{SHOWN}[0].click()")
        assert tab.wait(f"{LABEL}[0] != 'group 0/class 18' && {LABEL}") == ["group 6/class 42"]
        submit(tab)
    assert pull(studio, case).problems == ()
    (standing,) = case.read().state.items.values()
    (answer,) = standing.results
    assert [(one.category, one.parent_id, one.x, one.w) for one in answer.objects] == [
        ("class 42", "toy/000#0", 10, 20.5)
    ]
    assert [did.action for did in answer.did] == ["relabelled"]
