"""What is to be reviewed, by whom and how often: ``plan.yaml``, its presets, and the items of a dataset.

An item is the unit of work: one image with one target. The target is all classes of the plan (``unit: image``), one
class (``unit: class``) or a query group, all of whose queries are shown (``unit: group``).
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
import pyarrow.compute as pc
from msgspec import Meta, Struct

from curate.columns import plain
from curate.dataset import Dataset
from curate.doubt import doubts
from curate.errors import UsageError
from curate.label_studio.regions import Tool

Kind = Literal["annotate", "refine", "inspect", "audit"]
Shows = Literal["nothing", "prelabels", "previous"]
Share = Annotated[float, Meta(gt=0, le=1)]


class Accept(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When an inspected lot is good enough: the upper Wilson bound of the defects' share is at most ``target``."""

    target: Share = 0.05
    iou: Annotated[Share, Meta(description="a corrected shape below this IoU with what was shown is a defect")] = 0.75


class Round(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One pass over the items, or over a part of them."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
    kind: Kind
    annotators: Annotated[tuple[str, ...], Meta(description="pseudonyms; all of the plan's if empty")] = ()
    copies: Annotated[int, Meta(ge=1, le=20, description="people per item, none seeing the other")] = 1
    share: Annotated[Share, Meta(description="of the items, drawn at random with the plan's seed")] = 1.0
    doubtful: Annotated[bool, Meta(description="take the most doubtful items instead of random ones")] = False
    ties: Annotated[bool, Meta(description="only items with an object that an earlier review left undecided")] = False
    shows: Shows = "nothing"
    verdict: Annotated[bool, Meta(description="ask for accept, fix or reject; an inspect round always does")] = False
    tools: tuple[Tool, ...] = ("box", "mask", "polygon")
    accept: Accept | None = None
    sample: Annotated[int, Meta(ge=0, description="audit: presumed negatives of each class, at random")] = 0
    ranked: Annotated[int, Meta(ge=0, description="audit: and of each class the highest in given result lists")] = 0

    @property
    def judges(self) -> bool:
        return self.verdict or self.kind == "inspect"


class Plan(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """``plan.yaml``."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
    annotators: Annotated[tuple[str, ...], Meta(min_length=1, description="pseudonyms, no addresses")]
    rounds: Annotated[tuple[Round, ...], Meta(min_length=1)]
    unit: Literal["image", "class", "group"] = "image"
    classes: Annotated[tuple[str, ...], Meta(description="class list; the dataset's if empty")] = ()
    images: Annotated[tuple[str, ...], Meta(description="only these images; all of the dataset if empty")] = ()
    seed: int = 0

    @property
    def audits(self) -> bool:
        return self.rounds[0].kind == "audit"

    def people(self, round: int) -> tuple[str, ...]:
        return self.rounds[round].annotators or self.annotators


class Item(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One image with one target."""

    id: str
    image_id: str
    width: int
    height: int
    orientation: Annotated[int | None, Meta(description="EXIF orientation; people see the image turned by it")] = None
    target: Annotated[str | None, Meta(description="class or query group; null for all classes")] = None
    queries: Annotated[tuple[str, ...], Meta(description="queries of the group, all shown")] = ()
    sequence: Annotated[str | None, Meta(description="source/sequence of the image")] = None
    ties: Annotated[int, Meta(description="objects that an earlier review left undecided")] = 0
    doubt: Annotated[float, Meta(description="of the most doubtful proposal, by its score and its mask; 0..1")] = 0.0
    drawn: Annotated[bool, Meta(description="audit: drawn at random")] = False
    rank: Annotated[int | None, Meta(description="audit: from 1, in a result list; null if it is not for that")] = None


PRESETS = ("pixel-retrieval", "consensus", "quick", "ties", "audit")


def preset(name: str, annotators: Sequence[str], **changes: Any) -> Plan:
    """A plan by name: ``pixel-retrieval`` is the process of PROxford and PRParis, one person after another.

    Raises:
        UsageError: there is no such preset, or it needs more people.
    """
    least = {"pixel-retrieval": 3, "consensus": 2, "quick": 1, "ties": 1, "audit": 1}
    if name not in least:
        raise UsageError(f"preset {name!r}", "unknown", f"expected one of {', '.join(PRESETS)}")
    if len(annotators) < least[name]:
        raise UsageError(f"preset {name}", f"{len(annotators)} people", f"expected at least {least[name]}")
    after = {"kind": "refine", "shows": "previous", "verdict": True, "tools": ["mask", "polygon"]}
    rounds: dict[str, list[dict[str, Any]]] = {
        "pixel-retrieval": [
            {"name": "annotate", "kind": "annotate", "tools": ["mask", "polygon"]},
            {"name": "refine-1", **after},
            {"name": "refine-2", **after},
        ],
        "consensus": [{"name": "annotate", "kind": "annotate", "copies": len(annotators)}],
        "quick": [{"name": "inspect", "kind": "inspect", "shows": "prelabels", "share": 0.1, "accept": {}}],
        "ties": [{"name": "settle", "kind": "inspect", "shows": "prelabels", "ties": True}],
        "audit": [{"name": "audit", "kind": "audit", "sample": 100, "tools": ["box"]}],
    }
    unit = {"pixel-retrieval": "group", "audit": "class"}.get(name, "image")
    value = {"name": name, "annotators": list(annotators), "unit": unit, "rounds": rounds[name]} | changes
    return checked(value, f"preset {name}")


def with_sample(plan: Plan, **changes: int) -> Plan:
    """An audit that draws ``sample`` or ``ranked`` others.

    Raises:
        UsageError: neither is left.
    """
    one = msgspec.structs.replace(plan.rounds[0], **changes)
    return checked(msgspec.to_builtins(msgspec.structs.replace(plan, rounds=(one,))), "--sample, --ranked")


def with_images(plan: Plan, images: Sequence[str]) -> Plan:
    """A plan for these images only.

    Raises:
        UsageError: it names some itself, or is an audit.
    """
    if plan.images:
        raise UsageError("--only", "is given, and the plan names its images", "expected one of the two")
    value = msgspec.to_builtins(msgspec.structs.replace(plan, images=tuple(images)))
    return checked(value, "--only")


def read_images(content: bytes, where: object) -> list[str]:
    """Ids of images, each once, from a file with one per line or from a CSV with a column ``image``.

    Raises:
        UsageError: it is no text, or names none.
    """
    try:
        text = content.decode("utf-8-sig")
        head = next(csv.reader(text.splitlines()[:1]), [])
        if "image" in head:
            rows = csv.reader(io.StringIO(text, newline=""), strict=True)
            place = next(rows).index("image")
            names = [row[place] for row in rows if len(row) > place]
        else:
            names = [line.strip() for line in text.splitlines()]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(where, f"is no list of images: {error}", "expected an id per line, or CSV") from None
    found = list(dict.fromkeys(name for name in names if name))
    if not found:
        raise UsageError(where, "names no image", "expected an id per line, or a CSV with a column 'image'")
    return found


def read_plan(content: str | bytes, where: object) -> Plan:
    """A plan from YAML.

    Raises:
        UsageError: it is no YAML, or breaks the schema; the place is named.
    """
    import yaml

    try:
        text = content if isinstance(content, str) else content.decode("utf-8")
        value = yaml.safe_load(text)
    except UnicodeDecodeError as error:
        raise UsageError(where, f"is no text: {error}", "expected a plan") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: a number or date that cannot be
        mark = getattr(error, "problem_mark", None)
        place = f"{where}:{mark.line + 1}" if mark is not None else where
        problem = getattr(error, "problem", None) or str(error)
        raise UsageError(place, f"no YAML: {problem}", "expected a plan") from None
    return checked(value, where, text)


def write_plan(plan: Plan) -> str:
    """A plan as YAML."""
    import yaml

    text: str = yaml.safe_dump(msgspec.to_builtins(plan), sort_keys=False, allow_unicode=True)
    return text


def checked(value: Any, where: object, text: str | None = None) -> Plan:
    """``value`` as a plan whose rounds make sense one after another; ``text`` is the YAML that it was read from.

    Raises:
        UsageError: it breaks the schema or a rule, which is named.
    """
    root = None if text is None else _nodes(text)
    try:
        plan = msgspec.convert(value, Plan, strict=True)
    except msgspec.ValidationError as error:
        raise UsageError(_at(where, root, str(error)), str(error), hint="see schemas/plan.json") from None
    names = [one.name for one in plan.rounds]
    if len(set(names)) < len(names):
        raise UsageError(where, "two rounds of one name", "expected each name once")
    if any("@" in person for person in plan.annotators):
        raise UsageError(where, "an e-mail address as annotator", "expected a pseudonym; addresses go into people.yaml")
    for i, one in enumerate(plan.rounds):
        place = f"{_at(where, root, f'`$.rounds[{i}]`')}, round {one.name}"
        people = plan.people(i)
        if set(people) - set(plan.annotators) or len(set(people)) < len(people):
            raise UsageError(place, "annotators unknown or named twice", f"expected some of {plan.annotators}")
        if one.copies > len(people):
            raise UsageError(place, f"{one.copies} copies for {len(people)} people", "expected no more than people")
        if one.shows == "previous" and i == 0:
            raise UsageError(place, "shows the previous round", "but is the first")
        if one.shows == "previous" and plan.rounds[i - 1].copies > 1:
            raise UsageError(place, "shows the previous round", "which has several copies: finish that one first")
        if (one.kind == "audit") != bool(one.sample + one.ranked):
            raise UsageError(
                place, f"sample {one.sample}, ranked {one.ranked}", "expected some for an audit, and only then"
            )
        if one.kind == "audit" and (len(plan.rounds) > 1 or plan.unit != "class" or one.shows != "nothing"):
            raise UsageError(place, "an audit", "expected it to be the only round, of unit class, showing nothing")
        if one.kind == "audit" and plan.images:
            raise UsageError(place, "given images", "expected a random sample: its rate is of all presumed negatives")
        if one.kind == "audit" and one.share < 1:
            raise UsageError(place, f"share {one.share}", "expected sample and ranked, which say how many are drawn")
        if not one.tools:
            raise UsageError(place, "no tools", "expected some of box, mask, polygon")
    return plan


_PART = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")


def _nodes(text: str) -> Any:
    import yaml

    return yaml.compose(text, Loader=yaml.SafeLoader)


def _at(where: object, node: Any, message: str) -> str:
    """``where`` with the line, in a YAML of ``node``, of what a message names as `$.key[0]` or as unknown in that."""
    if node is None:
        return str(where)
    found = re.search(r"`\$([^`]*)`$", message)
    unknown = re.search(r"unknown field `([^`]*)`", message)
    parts = [key or int(number) for key, number in _PART.findall(found[1])] if found else []
    line = node.start_mark.line
    for part in [*parts, unknown[1]] if unknown else parts:
        inside: dict[Any, Any] = {}
        if node.id == "sequence":
            inside = {i: (child, child) for i, child in enumerate(node.value)}
        elif node.id == "mapping":
            inside = {key.value: (key, child) for key, child in node.value if key.id == "scalar"}
        if part not in inside:
            break
        mark, node = inside[part]
        line = mark.start_mark.line
    return f"{where}:{line + 1}"


def chosen(plan: Plan, round: int, items: Sequence[Item]) -> frozenset[str]:
    """Ids of the items that a round takes: the same whenever and wherever it is asked."""
    one = plan.rounds[round]
    if one.ties:
        items = [item for item in items if item.ties]
    if one.share == 1.0:
        return frozenset(item.id for item in items)
    count = max(1, round_half_up(one.share * len(items))) if items else 0
    if one.doubtful:
        ranked = sorted(items, key=lambda item: (-item.doubt, item.id))
    else:
        ranked = sorted(items, key=lambda item: draw(plan.seed, one.name, item.id))
    return frozenset(item.id for item in ranked[:count])


def round_half_up(value: float) -> int:
    return int(value + 0.5)


def draw(*parts: object) -> str:
    """A number that looks random and depends on ``parts`` only, as text that sorts."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def items_of(dataset: Dataset, plan: Plan) -> list[Item]:
    """The items of a dataset, by id.

    Raises:
        UsageError: an image has no known size, the plan's classes are not there, there are no query groups, or ties
            are asked for and there are none.
    """
    images = dataset.table("images")
    columns = (plain(images[name]).to_pylist() for name in ("id", "width", "height", "orientation"))
    sizes = {image: size for image, *size in zip(*columns, strict=True)}
    names = plain(dataset.table("categories")["name"]).to_pylist()
    missing = sorted(set(plan.classes) - set(names))
    if missing:
        raise UsageError("plan, classes", f"{', '.join(missing)} not in the dataset", f"it has {', '.join(names)}")
    if plan.images:
        strange = [image for image in plan.images if image not in sizes]
        if strange:
            said = f"{len(strange):,} of {len(plan.images):,} not in the dataset, as {strange[0]}"
            raise UsageError("plan, images", said, f"expected ids such as {next(iter(sizes), 'source/key')}")
        wanted = set(plan.images)
        sizes = {image: size for image, size in sizes.items() if image in wanted}
    doubt, sequences = doubts(dataset), sequences_of(dataset)
    found: list[tuple[str, str | None, tuple[str, ...]]] = []
    if plan.unit == "image":
        found = [(image, None, ()) for image in sizes]
    elif plan.unit == "class":
        found = [(image, name, ()) for image in sizes for name in plan.classes or names]
    else:
        pairs = _groups(dataset)
        if not pairs:
            expected = "expected queries, groups and judgements"
            hint = "for a dataset without queries take a plan such as consensus or quick"
            raise UsageError("plan, unit group", "no query has judgements", expected, hint)
        found = [
            (image, group, queries) for (image, group), queries in pairs.items() if image in sizes or not plan.images
        ]
    ties = _ties(dataset, plan.unit)
    if all(one.ties for one in plan.rounds):
        found = [one for one in found if one[:2] in ties]
        if not found:
            expected = "expected a dataset that 'review finish' made, with some"
            what = "these images" if plan.images else "the dataset"
            raise UsageError("plan, ties", f"nothing in {what} is undecided", expected)
    items = []
    for image, target, queries in found:
        width, height, orientation = sizes.get(image, (None, None, None))
        if width is None or height is None:
            raise UsageError(f"image {image}", "has no known size", "expected width and height", "import with --root")
        name = image if target is None else f"{image}@{target}"
        items.append(
            Item(
                id=name,
                image_id=image,
                width=width,
                height=height,
                orientation=orientation,
                target=target,
                queries=queries,
                sequence=sequences.get(image),
                ties=ties.get((image, target), 0),
                doubt=doubt.get(image, 0.0),
            )
        )
    return sorted(items, key=lambda item: item.id)


def sequences_of(dataset: Dataset) -> dict[str, str]:
    """The sequence of each image that is of one."""
    images = dataset.table("images")
    held = images.filter(pc.is_valid(plain(images["sequence"])))
    names = pc.binary_join_element_wise(plain(held["source"]), plain(held["sequence"]), "/")
    return dict(zip(held["id"].to_pylist(), names.to_pylist(), strict=True))


def _ties(dataset: Dataset, unit: str) -> Counter[tuple[str, str | None]]:
    """Objects that an earlier review left undecided, by image and target."""
    table = dataset.table("annotations").select(["image_id", "category", "status", "attributes"])
    held = pc.and_(pc.equal(plain(table["status"]), "proposal"), pc.is_valid(table["attributes"]))
    found: Counter[tuple[str, str | None]] = Counter()
    for row in table.filter(held).to_pylist():
        said = json.loads(row["attributes"]).get("review")
        if isinstance(said, dict) and said.get("tie"):
            target = {"class": row["category"], "group": said.get("group")}.get(unit)
            found[row["image_id"], target] += 1
    return found


def _groups(dataset: Dataset) -> dict[tuple[str, str], tuple[str, ...]]:
    """Image and query group of every pair that may show the object, with all queries of the group."""
    queries = dataset.table("queries").select(["id", "group"]).to_pylist()
    group = {row["id"]: row["group"] or row["id"] for row in queries}
    members: dict[str, list[str]] = {}
    for query, name in group.items():
        members.setdefault(name, []).append(query)
    judged = dataset.table("judgements").select(["query_id", "image_id", "label"])
    rows = zip(*(plain(judged[c]).to_pylist() for c in ("query_id", "image_id", "label")), strict=True)
    pairs = {
        (image, group[query])
        for query, image, label in rows
        if label in ("positive", "easy", "hard") and query in group
    }
    return {(image, name): tuple(sorted(members[name])) for image, name in sorted(pairs)}
