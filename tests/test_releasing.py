"""Releases: whole, checked, provably untouched, the same bytes every time, and honest about what changed."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image as PilImage

from curate import export, store
from curate.build.hidden import build_hidden
from curate.dataset import Dataset, from_records
from curate.errors import CurateError, SchemaError, UsageError
from curate.model import (
    Annotation,
    Category,
    Command,
    Coverage,
    Image,
    Info,
    Judgement,
    Member,
    Parent,
    Query,
    Record,
    RelevanceRule,
    SourceRecord,
    Step,
)
from curate.releasing import compare, plots, release, terms
from curate.releasing.rebuilding import differences
from curate.verify import verify


def records() -> list[Record]:
    found: list[Record] = [
        Image(
            id=f"toy/{name}", source="toy", file_name=f"{name}.png", width=100, height=80, split=split, sha256=name * 64
        )
        for name, split in (("a", "train"), ("b", "test"), ("c", "test"))
    ]
    for i, (image, name) in enumerate((("a", "cup"), ("b", "cup"), ("b", "plate | <b>flat</b>"))):
        found.append(
            Annotation(id=f"toy/{image}#{i}", image_id=f"toy/{image}", category=name, x=9 * i, y=5, w=20, h=20)
        )
    found += [Category(name="cup"), Category(name="plate | <b>flat</b>")]
    found += [Query(id="q", kind="image", image_id="toy/a", category="cup")]
    found += [Member(image_id="toy/a", role="query"), Member(image_id="toy/b", role="gallery")]
    return found


def dataset_of(rows: list[Record], licence: str | None = "CC BY 4.0", **more: Any) -> Dataset:
    sources = {"toy": SourceRecord(title="Toy set", licence=licence, citation="Doe, Toys, 2020")}
    command = Command(verb="build subset", options={"size": "<0.5"})
    more = {"sources": sources, "command": command, "relevance": RelevanceRule(target="category"), **more}
    return from_records(Info(name="toy", **more), rows)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_release_is_whole_and_proves_itself(tmp_path: Path) -> None:
    made = release(dataset_of(records()), tmp_path / "r", formats=["coco", "lists"], version="1.0")
    held = names(tmp_path / "r")
    for name in (
        "README.md",
        "LICENCES.md",
        "images.csv",
        "statistics.json",
        "verify.json",
        "verify.html",
        "SHA256SUMS",
    ):
        assert name in held
    assert "dataset/dataset.json" in held
    assert "export/annotations.json" in held
    assert any(name.startswith("export/lists") for name in held)
    assert made.files == len(held)
    assert "changes.json" not in held
    # On another place of the machine, by us and by the tool that everybody has.
    shutil.move(tmp_path / "r", tmp_path / "elsewhere")
    report = verify(tmp_path / "elsewhere")
    assert (report.kind, report.findings) == ("release", ())
    done = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path / "elsewhere", capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (tmp_path / "elsewhere" / "README.md").write_text("better")
    assert [one.code for one in verify(tmp_path / "elsewhere").findings] == ["V01"]


def test_the_dataset_inside_is_the_dataset_without_the_folders_of_its_maker(tmp_path: Path) -> None:
    for name in "abc":
        PilImage.new("RGB", (100, 80)).save(tmp_path / f"{name}.png")
    rows = [msgspec.structs.replace(r, sha256=None) if isinstance(r, Image) else r for r in records()]
    dataset = dataset_of(rows, roots={"toy": str(tmp_path)})
    release(dataset, tmp_path / "r")
    inside = store.read(tmp_path / "r" / "dataset")
    assert inside.fingerprint() == dataset.fingerprint()
    assert inside.info.roots == {}
    for name in names(tmp_path / "r"):
        assert str(tmp_path).encode() not in (tmp_path / "r" / name).read_bytes(), name


def test_the_card_has_the_figures_of_the_dataset(tmp_path: Path) -> None:
    release(dataset_of(records()), tmp_path / "r", version="1.0")
    card = (tmp_path / "r" / "README.md").read_text()
    assert card.startswith("# toy, version 1.0\n")
    assert "| toy | CC BY 4.0 | 3 | 3 |" in card
    assert "| toy |  | test | 2 | 2 | 1 |" in card
    assert "| cup | benchmark | 2 | 2 |" in card
    assert "| plate \\| &lt;b>flat&lt;/b> | benchmark | 1 | 1 |" in card
    assert "| 1 | 1 | 0 |" in card  # queries, gallery, without positive
    assert dataset_of(records()).fingerprint() in card
    licences = (tmp_path / "r" / "LICENCES.md").read_text()
    assert re.search(r"## Toy set\n\n\* Images: 3\n\* Licence: CC BY 4.0\n\* Citation: Doe", licences)
    with (tmp_path / "r" / "images.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["id"], row["file_name"], row["sha256"]) for row in rows][1] == ("toy/b", "b.png", "b" * 64)


def resealed(folder: Path, name: str, change: Callable[[str], str]) -> Path:
    """The release with a file changed and its list of checksums made anew, as somebody may who means it well."""
    file = folder / name
    text = change(file.read_text())
    assert text != file.read_text()
    file.write_text(text)
    lines = [
        f"{hashlib.sha256((folder / one).read_bytes()).hexdigest()}  {one}\n"
        for one in names(folder)
        if one != "SHA256SUMS"
    ]
    (folder / "SHA256SUMS").write_text("".join(lines))
    return folder


def test_a_release_is_built_again_from_its_tables(tmp_path: Path, curate: Callable[..., Any]) -> None:
    formats = ["coco", "lists", "parquet", "ilias", "revisitop", "anns_pt"]
    data = dataset_of([*records(), Coverage(scope="toy/b", category="*", state="exhaustive")])
    usable = []
    for name in formats:
        try:
            export.load(name).write(data, tmp_path / "try" / name)
        except CurateError:
            continue
        usable.append(name)
    assert {"coco", "lists", "parquet"} <= set(usable)
    release(data, tmp_path / "r", formats=usable, date="2025-01-31")
    done = curate("verify", tmp_path / "r", "--level", "deep", "--json")
    report = json.loads(done.stdout)
    assert (report["findings"], report["not_run"][0]["codes"]) == ([], ["V04"])
    assert "V04" in report["checked"] and report["not_run"][0]["reason"].startswith("in part: exports and figures were")
    # What is no longer checked, or not yet, is said too.
    for level in ("quick", "full"):
        report = json.loads(curate("verify", tmp_path / "r", "--level", level, "--json").stdout)
        (skipped,) = [one for one in report["not_run"] if "V04" in one["codes"]]
        assert skipped["reason"].startswith("nothing was built again") and "V04" not in report["checked"]
    alone = verify(tmp_path / "r", level="deep")
    assert "V04" not in alone.checked and alone.not_run[0].reason.startswith("nothing was built again")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("export/annotations.json", lambda text: text.replace('"cup"', '"mug"')),
        ("export/lists/queries.tsv", lambda text: text.replace("cup", "mug")),
        ("statistics.json", lambda text: text + " "),
        ("lineage.json", lambda text: text.replace("<0.5", "<0.4")),
        ("plots/classes.svg", lambda text: text.replace("cup", "mug")),
    ],
)
def test_what_its_tables_do_not_give_is_found(tmp_path: Path, name: str, change: Callable[[str], str]) -> None:
    release(dataset_of(records()), tmp_path / "r", formats=["coco", "lists"])
    report = verify(resealed(tmp_path / "r", name, change), level="deep", rebuild=differences)
    assert [(one.code, one.where) for one in report.findings] == [("V04", f"{tmp_path}/r/{name}")]
    assert verify(tmp_path / "r").findings == ()


def test_what_cannot_be_built_again_is_told(tmp_path: Path) -> None:
    release(dataset_of(records()), tmp_path / "r")
    (tmp_path / "r/export/mine").mkdir()
    (one,) = differences(tmp_path / "r")
    assert (one.code, one.where) == ("V04", f"{tmp_path}/r/export/mine")
    (tmp_path / "r/dataset/annotations.parquet").unlink()
    (one,) = differences(tmp_path / "r")
    assert one.message.startswith("cannot be built again: ") and "annotations.parquet" in one.message


def test_bytes_of_another_arrow_are_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release(dataset_of(records()), tmp_path / "r")
    monkeypatch.setattr("pyarrow.__version__", "1.2.3")
    (one,) = differences(tmp_path / "r")
    assert (one.code, one.severity, one.where) == ("V04", "info", f"{tmp_path}/r/export/croissant")


def test_equal_datasets_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        release(dataset_of(records()), tmp_path / name / "r")
    assert names(tmp_path / "one") == names(tmp_path / "two")
    for name in names(tmp_path / "one"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_nothing_broken_leaves_the_house(tmp_path: Path) -> None:
    bad = Annotation(id="toy/b#9", image_id="toy/b", category="cup", x=900, y=5, w=20, h=20)
    with pytest.raises(SchemaError, match="1 errors") as caught:
        release(dataset_of([*records(), bad]), tmp_path / "r")
    assert "B05" in str(caught.value)
    with pytest.raises(SchemaError, match="states no licence"):
        release(dataset_of(records(), licence=None), tmp_path / "r")
    with pytest.raises(SchemaError, match="not among the sources"):
        release(dataset_of(records(), sources={}), tmp_path / "r")
    with pytest.raises(UsageError, match="docx"):
        release(dataset_of(records()), tmp_path / "r", formats=["docx"])
    assert list(tmp_path.iterdir()) == []


def test_a_warning_that_no_release_may_have(tmp_path: Path) -> None:
    twice = [msgspec.structs.replace(r, sha256="a" * 64) if isinstance(r, Image) else r for r in records()]
    alone = [r for r in twice if not isinstance(r, Query | Member)]
    same = [msgspec.structs.replace(r, split="test") if isinstance(r, Image) else r for r in alone]
    assert verify(dataset_of(same)).verdict == "no errors"
    with pytest.raises(SchemaError, match="R07"):
        release(dataset_of(same), tmp_path / "r")
    made = release(dataset_of(same), tmp_path / "r", severities={"R07": "warning"})
    assert made.verify.severities["R07"] == "warning"


def test_an_export_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from curate.export import lists

    def fail(*args: Any, **options: Any) -> None:
        raise SchemaError("lists", "cannot be written")

    monkeypatch.setattr(lists, "write", fail)
    with pytest.raises(SchemaError, match="cannot be written"):
        release(dataset_of(records()), tmp_path / "r", formats=["coco", "lists"])
    assert list(tmp_path.iterdir()) == []


def test_what_changed_since_the_release_before(tmp_path: Path) -> None:
    release(dataset_of(records()), tmp_path / "one")
    rows: list[Record] = []
    for record in records():
        if isinstance(record, Image) and record.id == "toy/c":
            record = msgspec.structs.replace(record, split="train")
        if isinstance(record, Annotation) and record.id == "toy/b#1":
            record = msgspec.structs.replace(record, x=1.0, category=None)
        if not (isinstance(record, Annotation) and record.id == "toy/a#0"):
            rows.append(record)
    rows.append(Annotation(id="toy/b#new", image_id="toy/b", category="cup", x=1, y=40, w=9, h=9))
    rows.append(Annotation(id="toy/b#new2", image_id="toy/b", category="cup", x=30, y=40, w=9, h=9))
    release(dataset_of(rows), tmp_path / "two", previous=tmp_path / "one")
    changes = json.loads((tmp_path / "two" / "changes.json").read_text())
    assert set(changes["tables"]) == {"images", "annotations"}
    assert changes["tables"]["images"] == {
        "added": 0,
        "removed": 0,
        "changed": {"split": 1},
        "added_ids": [],
        "removed_ids": [],
        "changed_ids": ["toy/c"],
    }
    assert changes["tables"]["annotations"] == {
        "added": 2,
        "removed": 1,
        "changed": {"category": 1, "x": 1},
        "added_ids": ["toy/b#new", "toy/b#new2"],
        "removed_ids": ["toy/a#0"],
        "changed_ids": ["toy/b#1"],
    }
    assert "| annotations | 2 | 1 | category 1, x 1 |" in (tmp_path / "two" / "README.md").read_text()
    assert compare(dataset_of(rows), dataset_of(rows)).tables == {}


def test_keys_of_several_columns_do_not_run_together() -> None:
    def asked(*pairs: tuple[str, str]) -> Dataset:
        judgements = [Judgement(query_id=query, image_id=image, label="positive") for query, image in pairs]
        return dataset_of([*records(), *judgements])

    two = asked(("x", "a b"), ("x a", "b"))
    (change,) = compare(asked(("x", "a b")), two).tables.values()
    assert (change.added, change.removed, change.changed, change.added_ids) == (1, 0, {}, ("x a b ",))
    (change,) = compare(asked(("x", "a b")), asked(("x a", "b"))).tables.values()
    assert (change.added, change.removed, change.changed) == (1, 1, {})


def test_masks_are_compared_too() -> None:
    def of(*ring: float) -> Dataset:
        polygon = [[list(ring)]]
        return dataset_of([Image(id="toy/a", source="toy"), Annotation(id="x", image_id="toy/a", polygons=polygon)])

    change = compare(of(0, 0, 9, 0, 9, 9), of(0, 0, 9, 0, 9, 8)).tables["annotations"]
    assert change.changed == {"polygons": 1}


@pytest.mark.parametrize(
    ("licence", "open_"),
    [
        ("CC BY 4.0", True),
        ("CC0", True),
        ("cc-by-nc-sa 3.0", True),
        ("https://creativecommons.org/licenses/by/4.0/", True),
        ("public domain", True),
        ("CC BY-ND 4.0", False),  # a sheet cuts and draws
        ("CC BY-NC-SA 4.0 with the nuScenes terms of use (non-commercial)", False),
        ("research only, no redistribution", False),
        ("not stated by the authors", False),
        ("", False),
        (None, False),
    ],
)
def test_licences_that_allow_to_pass_pictures_on(licence: str | None, open_: bool) -> None:
    assert terms.is_open(licence) is open_


@pytest.fixture
def pictured(tmp_path: Path) -> list[Record]:
    """The records with pictures of their own colours in ``tmp_path / "raw"``, b under a licence of its own."""
    (tmp_path / "raw").mkdir()
    rows: list[Record] = []
    for record in records():
        if isinstance(record, Image):
            name = record.id[-1]
            PilImage.new("RGB", (100, 80), {"a": "red", "b": "green", "c": "blue"}[name]).save(
                tmp_path / "raw" / f"{name}.png"
            )
            record = msgspec.structs.replace(record, sha256=None, licence="no redistribution" if name == "b" else None)
        rows.append(record)
    return rows


def test_pictures_are_passed_on_only_where_their_licence_allows_it(tmp_path: Path, pictured: list[Record]) -> None:
    roots = {"toy": tmp_path / "raw"}
    release(dataset_of(pictured), tmp_path / "bare", roots=roots)
    assert not any(name.startswith("images/") for name in names(tmp_path / "bare"))
    made = release(dataset_of(pictured), tmp_path / "r", roots=roots, with_images=True)
    held = names(tmp_path / "r")
    assert [name for name in held if name.startswith("images/")] == ["images/toy/a.png", "images/toy/c.png"]
    assert made.images == {"toy": 2}
    assert (tmp_path / "r/images/toy/a.png").read_bytes() == (tmp_path / "raw/a.png").read_bytes()
    with (tmp_path / "r" / "images.csv").open() as stream:
        assert [row["here"] for row in csv.DictReader(stream)] == ["images/toy/a.png", "", "images/toy/c.png"]
    # Of the three objects only one is on a picture that may be shown.
    assert [name for name in held if name.startswith("sheets/")] == ["sheets/01-cup.jpg"]
    sheet = np.asarray(PilImage.open(tmp_path / "r/sheets/01-cup.jpg").convert("RGB")).reshape(-1, 3).astype(int)
    colours = set(sheet[np.ptp(sheet, axis=1) > 120].argmax(axis=1).tolist())
    assert colours == {0}  # red, no green
    assert "2 of 3 here" in (tmp_path / "r/LICENCES.md").read_text()
    assert "1 images are under: no redistribution" in (tmp_path / "r/LICENCES.md").read_text()
    assert "2 of toy" in (tmp_path / "r/README.md").read_text()
    assert verify(tmp_path / "r").findings == ()


def test_plots_are_sound_pictures(tmp_path: Path) -> None:
    release(dataset_of(records()), tmp_path / "r")
    card = (tmp_path / "r" / "README.md").read_text()
    for name in ("classes.svg", "sizes.svg"):
        assert f"(plots/{name})" in card
        drawn = ElementTree.parse(tmp_path / "r" / "plots" / name)
        assert drawn.getroot().tag == "{http://www.w3.org/2000/svg}svg"
        assert not list(drawn.iter("{http://www.w3.org/2000/svg}script"))
    drawn = ElementTree.parse(tmp_path / "r/plots/classes.svg")
    titles = [one.text for one in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == ["Annotations per class, 2 classes", "cup: 2", "plate | <b>flat</b>: 1"]


def test_the_bars_of_a_plot_are_to_scale() -> None:
    def heights(values: list[int], **options: bool) -> list[float]:
        drawn = ElementTree.fromstring(plots.bars("t", [(str(v), v) for v in values], **options))
        return [float(one.attrib["height"]) for one in drawn.iter("{http://www.w3.org/2000/svg}rect")][1:]

    four, two, none = heights([40, 20, 0])
    assert four == pytest.approx(2 * two)
    assert none == 0
    thousand, hundred, ten = heights([1000, 100, 10], logarithmic=True)
    assert thousand - hundred == pytest.approx(hundred - ten, abs=0.02)
    assert heights([1, 0], logarithmic=True)[0] > 0 == heights([1, 0], logarithmic=True)[1]


def test_mlcroissant_accepts_a_release(tmp_path: Path) -> None:
    release(dataset_of(records()), tmp_path / "r", version="1.0.0", date="2026-01-31")
    file = tmp_path / "r" / "export" / "croissant" / "croissant.json"
    program = Path(sys.executable).with_name("mlcroissant")
    done = subprocess.run(
        [program, "validate", "--jsonld", file], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "Done." in done.stdout + done.stderr
    for word in ("rror", "arning"):
        assert word not in done.stdout + done.stderr
    about = json.loads(file.read_text())
    assert (about["version"], about["license"], about["datePublished"]) == ("1.0.0", ["CC BY 4.0"], "2026-01-31")
    with pytest.raises(UsageError, match="no date"):
        release(dataset_of(records()), tmp_path / "r2", date="soon")
    assert not (tmp_path / "r2").exists()


def test_recipe_and_lineage(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("title: Mine\nsteps: []\n")
    release(dataset_of(records()), tmp_path / "r", recipe=tmp_path / "mine.yaml")
    assert (tmp_path / "r/recipe.yaml").read_bytes() == (tmp_path / "mine.yaml").read_bytes()
    assert [link["verb"] for link in json.loads((tmp_path / "r/lineage.json").read_text())] == ["build subset"]
    assert "`curate build subset --size <0.5` toy" in (tmp_path / "r/README.md").read_text()
    for name, data in (("absent", None), ("binary", b"\xff\xfe"), ("large", b"#" * (1 << 20 | 1))):
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(UsageError, match=f"--recipe .*{name}"):
            release(dataset_of(records()), tmp_path / "r2", recipe=tmp_path / name)
    assert not (tmp_path / "r2").exists()


def test_a_recipe_is_checked_and_what_it_needs_is_named(curate: Callable[..., Any], tmp_path: Path) -> None:
    store.write(dataset_of(records()), tmp_path / "toy")
    (tmp_path / "demo.json").write_text('{"version": 1}')
    done = curate("release", "toy", "-o", "r", "--recipe", "demo.json", code=2)
    assert "demo.json:1: 'version' is unknown here; expected some of title," in done.stderr
    assert not (tmp_path / "r").exists()
    done = curate("release", "toy", "-o", "r", "--recipe", "absent.yaml", code=2)
    assert "--recipe absent.yaml: no such file" in done.stderr
    (tmp_path / "own.tsv").write_text("")
    (tmp_path / "mine.yaml").write_text(
        "title: Mine\nroots: {kitti: KITTI}\nsteps:\n"
        "  - {name: kitti, command: import kitti, root: kitti}\n"
        "  - {name: own, command: relabel, inputs: kitti, options: {taxonomy: own.tsv}}\n"
        "  - {name: release, command: release, inputs: own}\n"
    )
    curate("release", "toy", "-o", "r", "--recipe", "mine.yaml")
    assert "It needs beside it what is not in this release: `own.tsv`.\n" in (tmp_path / "r/README.md").read_text()
    (tmp_path / "mine.yaml").write_text(
        "title: Mine\nroots: {kitti: KITTI}\nsteps:\n  - {name: kitti, command: import kitti, root: kitti}\n"
    )
    curate("release", "toy", "-o", "r2", "--recipe", "mine.yaml")
    assert "It needs" not in (tmp_path / "r2/README.md").read_text()


def test_the_key_of_a_hidden_test_is_not_released(tmp_path: Path) -> None:
    found = build_hidden(dataset_of(records()), splits=["test"])
    release(found.public, tmp_path / "public")
    with pytest.raises(SchemaError, match=r"toy-key is the key of a hidden test: .* release the public dataset"):
        release(found.key, tmp_path / "key")
    assert not (tmp_path / "key").exists()


def test_what_markdown_would_take_for_markup(tmp_path: Path) -> None:
    options = {"class": "a`<img src=x onerror=y>`b", "name": "``"}
    rows = [*records(), Category(name="[x](http://t) ![](http://t) *y* `<i>`")]
    release(dataset_of(rows, command=Command(verb="build subset", options=options)), tmp_path / "r")
    card = (tmp_path / "r/README.md").read_text()
    assert "* ``` curate build subset --class a`<img src=x onerror=y>`b --name `` ``` toy `" in card
    assert r"| \[x](http://t) !\[](http://t) \*y\* \`&lt;i>\` |" in card


def test_agreement_and_audit_of_the_reviews_in_its_past(tmp_path: Path) -> None:
    release(dataset_of(records()), tmp_path / "bare")
    card = (tmp_path / "bare/README.md").read_text()
    assert "No review by people" in card and "**not audited**" in card
    steps = (
        Step(what="agreement of round annotate: F1 0.84", counts={"images": 9}),
        Step(what="audit cup: 1.2 % missed"),
    )
    parents = (Parent(name="seen", fingerprint="e" * 64, command=Command(verb="review finish", steps=steps)),)
    release(dataset_of(records(), parents=parents), tmp_path / "r")
    card = (tmp_path / "r/README.md").read_text()
    assert "* agreement of round annotate: F1 0.84 (9 images)\n" in card
    assert "Positives that everybody missed: audit cup: 1.2 % missed\n" in card
    page = (tmp_path / "r/verify.html").read_text()
    assert "agreement of round annotate: F1 0.84" in page


def test_no_address_and_no_token_leaves_the_house(tmp_path: Path) -> None:
    person = Annotation(
        id="toy/b#9", image_id="toy/b", category="cup", x=1, y=40, w=9, h=9, origin="human:a@example.org"
    )
    with pytest.raises(SchemaError, match="L08") as caught:
        release(dataset_of([*records(), person]), tmp_path / "r")
    assert "example.org" not in str(caught.value)
    # Where no rule for tables looks, the texts that are written are looked through.
    place = Image(id="toy/z", source="toy", file_name="z.png", width=9, height=9, place="a@example.org")
    with pytest.raises(SchemaError, match="L08") as caught:
        release(dataset_of([*records(), place]), tmp_path / "r")
    assert "r/export/annotations.json" in str(caught.value) and "partial" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    # The contact that a licence names belongs there.
    sources = {"toy": SourceRecord(title="Toy set", licence="CC BY 4.0", citation="Doe <doe@example.org>")}
    release(dataset_of(records(), sources=sources), tmp_path / "r")
    report = verify(tmp_path / "r")
    assert report.verdict == "no errors"
    assert {(one.code, one.severity) for one in report.findings} == {("L08", "info")}


def test_the_command(curate: Callable[..., Any], tmp_path: Path) -> None:
    store.write(dataset_of(records()), tmp_path / "toy")
    done = curate("release", "toy", "-o", "r", "--version", "1.0", "--format", "coco", code=0)
    assert done.stdout.startswith("r: ")
    assert "3 images" in done.stdout
    curate("verify", "r", code=0)
    curate("release", "toy", "-o", "r", code=2)
    curate("release", "toy", "-o", "r", "--overwrite", "--previous", "toy", code=0)
    curate("verify", "r", code=0)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").write_text("")
    curate("release", "toy", "-o", "mine", "--overwrite", code=2)
    assert (tmp_path / "mine" / "x").exists()
    done = curate("release", "toy", "-o", "r2", "--previous", "mine", code=1)
    assert "mine" in done.stderr
    done = curate("release", "toy", "-o", "r2", "--root", "tpy=.", code=2)
    assert "--root tpy: no image is of this source; expected one of " in done.stderr
    assert not (tmp_path / "r2").exists()


def test_the_same_bytes_in_another_folder_zone_language_and_hash_seed(
    curate: Callable[..., Any], tmp_path: Path, pictured: list[Record]
) -> None:
    """V04: a release that is made again is the same to the byte."""
    rows = [msgspec.structs.replace(r, licence=None) if isinstance(r, Image) else r for r in pictured]
    store.write(dataset_of(rows), tmp_path / "toy")
    places = {"one": {"TZ": "UTC", "LC_ALL": "C", "PYTHONHASHSEED": "1"}}
    places["two/deeper"] = {"TZ": "Asia/Kathmandu", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "77"}
    arguments = ["--root", f"toy={tmp_path / 'raw'}", "--with-images", "--format", "coco", "--format", "lists"]
    for name, more in places.items():
        (tmp_path / name).mkdir(parents=True)
        options = {"cwd": tmp_path / name, "env": {**os.environ, **more}}
        curate("release", tmp_path / "toy", "-o", "r", *arguments, code=0, **options)
    one, two = (tmp_path / name for name in places)
    assert names(one) == names(two)
    assert len(names(one)) > 20
    for name in names(one):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
