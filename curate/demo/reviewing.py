"""The tour's review: three people outline things in a real Label Studio, by the process of PROxford, and are measured.

::

    DIR/pairs           query groups and images that show what they ask for, without outlines
    DIR/rounds          the review of these: annotate, refine and inspect, refine and inspect
    DIR/blind           the same pairs by everybody, nobody seeing another's work: there, agreement can be measured
    DIR/agreement.html  its figures, and where the people disagree
    DIR/reviewed        the dataset with the accepted outlines

The people are played (:mod:`curate.demo.people`), the server is not: it runs on loopback while the steps work, on a
temporary folder. The logs of both reviews say when people worked, so they differ from tour to tour; the datasets do
not.
"""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from curate.columns import plain
from curate.dataset import table_of
from curate.demo import people
from curate.demo.steps import Outcome, Place, Steps, verified
from curate.model import Command, Judgement, Rle
from curate.pages import agreement
from curate.review import api, finish, folder, measures, plan, rounds, server, tasks
from curate.verify import verify

SOUGHT = ("OWID/6", "OWID/7")  # objects of the validation split: not all that an image shows is labelled there
_TURNS = 50  # of push, work and pull; a review that needs more goes round in circles


@contextmanager
def stage() -> Iterator[Path]:
    """A folder for the server's data, gone at the end together with the server that runs on it."""
    with tempfile.TemporaryDirectory(prefix="curate-demo-") as data:
        try:
            yield Path(data)
        finally:
            server.stop(Path(data))


def steps(data: Path) -> Steps:
    """The steps, with the server's data in ``data``; they follow those of the tour."""
    paper = plan.preset("pixel-retrieval", tuple(people.PEOPLE))
    blind = plan.preset("consensus", tuple(people.PEOPLE), unit="group")
    return [
        ("find pairs", _pairs),
        ("review serve", partial(_serve, data)),
        ("review in rounds", partial(_play, data, "rounds", paper)),
        ("review blindly", partial(_play, data, "blind", blind)),
        ("review agreement", _agreement),
        ("review finish", _finish),
        ("verify reviewed", _verify),
    ]


def _pairs(place: Place) -> Outcome:
    """Every query of the sought objects with every image that shows its object; of the images, nothing is outlined."""
    dataset = place.read("voxdet")
    queries = dataset.table("queries")
    queries = queries.filter(pc.is_in(plain(queries["instance"]), value_set=pa.array(SOUGHT)))
    shows = _truth(place)
    judgements = [
        Judgement(query_id=query, image_id=image, label="positive")
        for query, sought in zip(queries["id"].to_pylist(), plain(queries["instance"]).to_pylist(), strict=True)
        for image, instance in shows
        if instance == sought
    ]
    own = plain(queries["image_id"]).to_pylist()
    kept = dataset.select_images(pa.array(sorted({*own, *(image for image, _ in shows)})))
    outlines = kept.table("annotations").filter(
        pc.is_in(plain(kept.table("annotations")["image_id"]), value_set=pa.array(own))
    )
    names = pc.unique(plain(outlines["category"]))
    made = kept.replace(
        info=kept.child("pairs", command=Command(verb="demo pairs")),
        annotations=outlines,
        categories=kept.table("categories").filter(pc.is_in(kept.table("categories")["name"], value_set=names)),
        instances=kept.table("instances").filter(pc.is_in(kept.table("instances")["id"], value_set=pa.array(SOUGHT))),
        judgements=table_of("judgements", judgements),
        coverage=kept.table("coverage").slice(0, 0),
    )
    counts = {"query groups": len(SOUGHT), "queries": len(own), "images to outline": len({i for i, _ in shows})}
    return Outcome(counts, None, place.write(made, "pairs"))


def _truth(place: Place) -> dict[tuple[str, str], Rle]:
    """The masks of the sought objects in the gallery's images, by image and object: what the people know."""
    dataset = place.read("voxdet")
    searched = set(plain(dataset.table("queries")["image_id"]).to_pylist())
    rows = dataset.table("annotations").select(["image_id", "instance", "segmentation"]).to_pylist()
    return {
        (row["image_id"], row["instance"]): msgspec.convert(row["segmentation"], Rle)
        for row in rows
        if row["instance"] in SOUGHT and row["image_id"] not in searched
    }


def _serve(data: Path, place: Place) -> Outcome:
    """Start the server and make three accounts; their tokens lie beside its own secrets."""
    running = server.start(server.install(server.home()), data, place.folder / "raw", outlives=False)
    admin = api.Api(running.url, running.token)
    tokens = {one: api.join(admin, f"{one}@example.org", secrets.token_urlsafe(12)) for one in people.PEOPLE}
    (data / "tokens.json").write_text(json.dumps(tokens), "utf-8")
    return Outcome({"people": len(tokens)})


def _play(data: Path, name: str, given: plan.Plan, place: Place) -> Outcome:
    """A review from its first push to its last pull, everybody working in turn."""
    running = server.opened(data)
    assert running is not None
    admin = api.Api(running.url, running.token)
    tokens = json.loads((data / "tokens.json").read_text("utf-8"))
    hands = {person: api.Api(running.url, token) for person, token in tokens.items()}
    dataset = place.read("pairs")
    review = folder.init(dataset, str((place.home / "pairs").resolve()), given, place.folder / name)
    users = {person: int(hand.whoami()["id"]) for person, hand in hands.items()}
    accounts = {one: folder.Person(user=user, email=f"{one}@example.org") for one, user in users.items()}
    folder.write_people(review.folder, accounts)
    material = tasks.material(dataset, given, review.items, place.roots)
    answers = 0
    for _ in range(_TURNS):
        review = folder.read(review.folder)
        truths = _truths(review, material, place)
        if not truths:
            break
        rounds.push(review, admin, material, Path(running.root))
        for person, hand in hands.items():
            marks = {rounds.mark(review, number, person) for number in range(len(given.rounds))}
            for project in list(hand.projects()):
                if project["description"] in marks:
                    answers += people.work(hand, project, person, truths)
        rounds.pull(folder.read(review.folder), admin, material)
    standings = review.state.items.values()
    counts = {"pairs": len(standings), "answers": answers}
    counts["rejected"] = sum(standing.rejections for standing in standings)
    return Outcome(counts | {"accepted": sum(standing.status == "accepted" for standing in standings)})


def _truths(review: folder.Review, material: tasks.Material, place: Place) -> Mapping[str, people.Truth]:
    """What the open tasks ask for, by their keys."""
    masks = _truth(place)
    instances = place.read("pairs").table("instances").to_pylist()
    names = {row["id"]: row["category"] for row in instances}
    found = {}
    for job in review.state.jobs:
        if job.status == "open":
            item = material.items[job.item]
            target = item.target or ""
            found[job.key] = people.Truth(material.frame(job), names[target], masks[item.image_id, target])
    return found


def _agreement(place: Place) -> Outcome:
    review = folder.read(place.folder / "blind")
    found = measures.measure(review)
    page = agreement.draw_page(review, found, place.read("pairs"), roots=place.roots)
    (place.folder / "agreement.html").write_text(page, "utf-8")
    every = found.rounds[0].pairs[0]
    counts = {"objects": every.objects, "% F1 at IoU .5": _percent(every.f1)}
    counts["% F1 at .5 to .95"] = _percent(every.f1_sweep)
    return Outcome(counts, "review agreement ../blind --html agreement.html")


def _percent(value: float | None) -> int:
    assert value is not None  # three people drew something
    return round(100 * value)


def _finish(place: Place) -> Outcome:
    dataset, review = place.read("pairs"), folder.read(place.folder / "rounds")
    names = plain(dataset.table("categories")["name"]).to_pylist()
    done = finish.finish(dataset, review, names, name="reviewed")
    counts = {"accepted": done.accepted, "outlines": done.truth, "left": done.left}
    return Outcome(counts, "review finish ../rounds -o reviewed", place.write(done.dataset, "reviewed"))


def _verify(place: Place) -> Outcome:
    checked = verify(place.read("reviewed"), level="deep", roots={"voxdet": place.roots["voxdet"]}, name="reviewed")
    return verified(checked, "verify reviewed")
