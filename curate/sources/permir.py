"""PerMIR: one object of a video to be found again in other frames of it, among objects of the same classes.

It is a selection from BURST (masks on the videos of TAO), three frames per video. Two trees are read::

    annotations/<split>/all_classes.json             BURST; the folder annotations may be left out
    frames/<split>/<dataset>/<video>/<frame>         TAO; the folder frames may be left out

    PerMIRS/<i>/{0,1,2}.jpg, masks.npz.npy           what PDM's program wrote of it; PerMIRS may be left out

Of BURST the selection is done again by PDM's rules (``_permir_selection``), for each split; PDM's folders are taken as
they are. A key is the path ``<split>/<dataset>/<video>/<frame>``, or ``PerMIRS/<i>/<file>``.

* One instance per video is searched for: ``BURST/<split>/<dataset>/<video>/<track>``, or ``PerMIRS/<i>``. PDM numbers
  the videos of every split from 0, in ``attributes.permir.number``; so three runs of its program overwrite each other.
* All tracks of a chosen frame are annotations, with their masks; boxes are theirs, ``max + 1 - min``. A mask of BURST's
  train split may be made by a program: ``attributes.permir.is_gt`` is false then, and ``score`` is its score. PDM's
  folders have the mask of the one object only and no class: its category is ``object``.
* Query is the frame in which PDM's crop shows most of the object, the other two are the gallery. With
  ``--option gallery=all`` the gallery has all three frames: the numbers in the SoIR paper (150 and 450) fit that. Where
  the object fills less than 0.5 % of a crop, PDM leaves the video out: its images are kept without roles.
* Labels are partial: BURST annotates some classes of a video, and says for some that they are absent (exhaustive).
* Videos of BDD and ArgoVerse are in driving sets too, BDD100K among them; this is reported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from curate import geometry
from curate.errors import SourceError, UsageError
from curate.model import (
    Annotation,
    Category,
    Counts,
    Coverage,
    Image,
    Instance,
    Item,
    Member,
    Parsed,
    Record,
    RelevanceRule,
    Rle,
    Source,
    finding,
)
from curate.pictures import read_header
from curate.sources import _permir_folders as folders
from curate.sources._files import agreed_size, chosen_splits, list_files, shown
from curate.sources._own_queries import query_of
from curate.sources._permir_selection import Choice, Label, Segment, Selection, select

SOURCE = Source(
    title="PerMIR",
    homepage="https://github.com/dvirsamuel/PDM",
    licence="that of each video's source; not stated by the authors",
    citation="Samuel et al.: Where's Waldo: Diffusion Features for Personalized Segmentation and Retrieval. "
    "NeurIPS 2024; Athar et al.: BURST. WACV 2023",
    download="""
There is no archive: PerMIR is selected from BURST. Download and unpack
  annotations.zip          of BURST, https://github.com/Ali2500/BURST-benchmark
  frames of TAO            train, val and test, from the MOTChallenge site (videos of HACS, AVA and LaSOT not needed)
or name the folder PerMIRS that the program of the homepage wrote.
""",
    tree="""
annotations/{train,val,test}/all_classes.json
frames/{train,val,test}/<dataset>/<video>/<frame>.jpg
or PerMIRS/<i>/{0,1,2}.jpg, masks.npz.npy
""",
    splits=("train", "val", "test"),
    published=Counts(note="150 queries and 450 gallery images of 16 classes in the SoIR paper; BURST has 2,914 videos"),
)
OPTIONS = {"gallery": "others, the frames that are no query, or all three"}
RELEVANCE = RelevanceRule(target="instance")

_FILE = "all_classes.json"
_UNKNOWN = "object"
# TAO's names of the datasets whose videos stand in driving sets too.
_DRIVING = {"BDD": "BDD100K", "ArgoVerse": "Argoverse"}


class _Track(NamedTuple):
    """A mask in a frame."""

    id: str  # the end of the annotation's id
    category: str
    label: str
    instance: str
    segment: Segment
    chosen: bool


class _Frame(NamedTuple):
    """What the parser of an image needs beyond its picture."""

    file_name: str
    size: tuple[int, int] | None  # width, height
    sequence: str
    facts: dict[str, int]
    tracks: list[_Track]
    instances: list[Instance]  # of the video, told by the first of its frames
    coverage: list[Coverage]
    roles: tuple[str, ...]
    error: SourceError | None


def scan(root: Path, splits: tuple[str, ...], gallery: str = "others") -> list[Item]:
    """One item per chosen frame.

    Raises:
        SourceError: ``root`` is neither tree, or an annotation file is malformed.
        UsageError: ``gallery`` is neither ``others`` nor ``all``.
    """
    if gallery not in ("others", "all"):
        raise UsageError(f"option gallery={gallery}", "is unknown", "expected others or all")
    top = folders.top_folder(root)
    if top is not None:
        _no_splits(splits)
        items = [item for folder in folders.read_folders(root, top) for item in _folder_items(root, folder, gallery)]
        return sorted(items, key=lambda item: item.id)
    items = []
    for split, path in _files(root, splits).items():
        selection = select(path)
        for choice in selection.choices:
            items += _video_items(root, split, choice, selection.labels, gallery)
    return sorted(items, key=lambda item: item.id)


def _no_splits(splits: tuple[str, ...]) -> None:
    if splits:
        raise UsageError("import permir", "was given --split", hint="PDM's folders do not say the split of a video")


def _files(root: Path, splits: tuple[str, ...]) -> dict[str, Path]:
    """The annotation file of each chosen split."""
    places = {split: [f"annotations/{split}", split] for split in SOURCE.splits}
    chosen = chosen_splits(root, "permir", SOURCE, places, splits)
    found = {
        split: next((root / place / _FILE for place in places[split] if (root / place / _FILE).is_file()), None)
        for split in chosen
    }
    there = {split: path for split, path in found.items() if path}
    absent = [split for split in splits if split not in there]
    if absent or not there:
        where = f"annotations/{(absent or chosen)[0]}/{_FILE}"
        raise SourceError(root, f"has no {where}", "expected BURST's annotations", "see 'curate sources permir'")
    return there


def _video_items(root: Path, split: str, choice: Choice, labels: dict[int, Label], gallery: str) -> Iterator[Item]:
    video = f"{split}/{shown(choice.dataset)}/{shown(choice.name)}"
    if choice.error:
        data = _Frame("", None, "", {}, [], [], [], (), choice.error)
        yield Item(f"permir/{video}", root, split, None, None, data)
        return
    listing = {}
    folder = ""
    for top in ("frames/", ""):
        folder = f"{top}{split}/{choice.dataset}/{choice.name}"
        listing = list_files(root, folder, (".jpg", ".jpeg", ".png"))
        if listing:
            break
    for i, frame in enumerate(choice.frames):
        id = f"permir/{video}/{shown(frame.path)}"
        there = frame.path in listing
        error = listing.get(frame.path)
        if "/" in frame.path or "\\" in frame.path or frame.path in ("", ".", ".."):
            error = SourceError(root / folder, f"names frame {shown(frame.path)!r}", "expected a file name")
        tracks = [
            _track(track, segment, choice, labels, f"BURST/{video}")
            for track, segment in sorted(frame.segments.items())
        ]
        data = _Frame(
            file_name=f"{folder if listing else f'frames/{split}/{choice.dataset}/{choice.name}'}/{frame.path}",
            size=choice.size,
            sequence=f"{choice.dataset}/{choice.name}",
            facts={"number": choice.number, "place": i},
            tracks=tracks,
            instances=_instances(choice, labels, f"BURST/{video}") if i == 0 else [],
            coverage=_coverage(id, choice, labels),
            roles=_roles(i, choice.query, gallery),
            error=error,
        )
        yield Item(id, root, split, f"{folder}/{frame.path}" if there else None, None, data)


def _track(track: str, segment: Segment, choice: Choice, labels: dict[int, Label], video: str) -> _Track:
    number = choice.categories.get(track)
    category = _label(number, labels)
    chosen = track == choice.track
    return _Track(shown(track).replace("#", "_"), category, category, f"{video}/{shown(track)}", segment, chosen)


def _label(number: int | None, labels: dict[int, Label]) -> str:
    if number is None:
        return _UNKNOWN
    return labels[number].name if number in labels else str(number)


def _instances(choice: Choice, labels: dict[int, Label], video: str) -> list[Instance]:
    tracks = sorted({track for frame in choice.frames for track in frame.segments})
    return [
        Instance(id=f"{video}/{shown(track)}", category=_label(choice.categories.get(track), labels))
        for track in tracks
    ]


def _coverage(image_id: str, choice: Choice, labels: dict[int, Label]) -> list[Coverage]:
    absent = {_label(number, labels) for number in choice.absent}
    partly = {_label(number, labels) for number in choice.not_exhaustive}
    rows = [Coverage(scope=image_id, category=name, state="exhaustive") for name in sorted(absent - partly)]
    return rows + [Coverage(scope=image_id, category=name, state="partial") for name in sorted(partly)]


def _roles(place: int, query: int | None, gallery: str) -> tuple[str, ...]:
    if query is None:
        return ()
    if place != query:
        return ("gallery",)
    return ("query", "gallery") if gallery == "all" else ("query",)


def _folder_items(root: Path, folder: folders.Folder, gallery: str) -> Iterator[Item]:
    video = f"PerMIRS/{folder.number}"
    if not folder.pictures:
        yield Item(f"permir/{video}", root, None, None, None, _Frame("", None, "", {}, [], [], [], (), folder.error))
    for place, file in folder.pictures.items():
        id = f"permir/{video}/{file}"
        tracks = []
        if folder.masks:
            segment = Segment(folder.masks[place].counts)
            tracks = [_Track("0000", _UNKNOWN, _UNKNOWN, video, segment, True)]
        height, width = folder.masks[place].size if folder.masks else (0, 0)
        data = _Frame(
            file_name=f"{folder.path}/{file}",
            size=(width, height),
            sequence=video,
            facts={"number": folder.number, "place": place},
            tracks=tracks,
            instances=[Instance(id=video, category=_UNKNOWN)] if place == 0 else [],
            coverage=[Coverage(scope=id, category="*", state="partial")],
            roles=_roles(place, folder.query, gallery),
            error=folder.errors[place] or folder.error,
        )
        yield Item(id, root, None, f"{folder.path}/{file}", None, data)


def records(root: Path, splits: tuple[str, ...], gallery: str = "others") -> Iterator[Record]:
    """Categories, coverage of the splits, and which videos were not taken."""
    if folders.top_folder(root) is not None:
        yield Category(name=_UNKNOWN, role="other")
        return
    definitions: dict[str, str | None] = {}
    for split, path in _files(root, splits).items():
        selection = select(path)
        for label in selection.labels.values():
            definitions.setdefault(label.name, label.definition)
        yield Coverage(scope=f"permir/{split}", category="*", state="partial")
        yield from _noticed(split, selection)
    for name in sorted(definitions):
        yield Category(name=name, definition=definitions[name])


def _noticed(split: str, selection: Selection) -> Iterator[Record]:
    where = f"{split}/{_FILE}"
    for reason, count in sorted(Counter(selection.dropped.values()).items()):
        names = [shown(name) for name, why in selection.dropped.items() if why == reason]
        message = f"{count} videos are not taken ({names[0]}{', ...' if count > 1 else ''}): {reason}"
        yield finding("N05", where, message)
    for dataset, count in sorted(Counter(choice.dataset for choice in selection.choices).items()):
        if dataset in _DRIVING:
            message = f"{count} videos of {dataset} may stand in {_DRIVING[dataset]} too"
            yield finding("N05", where, message, hint="look for duplicates before you merge")
    for choice in selection.choices:
        if choice.query is None and not choice.error:
            item = f"permir/{split}/{shown(choice.dataset)}/{shown(choice.name)}"
            message = "its object fills less than 0.5 % of a frame's crop; images are kept without a role"
            yield finding("N05", where, message, item=item)


def parse(item: Item) -> Parsed:
    """One frame with the masks of its tracks.

    Raises:
        SourceError: the picture is unreadable or of another size than its masks, a mask is malformed, or the video of
            the frame is.
    """
    data: _Frame = item.data
    if data.error:
        raise data.error
    assert data.size
    header = read_header(item.root / item.image) if item.image else None
    width, height = agreed_size(
        item.root / data.file_name, data.size, (header.width, header.height) if header else None
    )
    image = Image(
        id=item.id,
        source="permir",
        source_split=item.split,
        file_name=data.file_name,
        width=width,
        height=height,
        orientation=header.orientation if header else None,
        sequence=data.sequence,
        attributes={"permir": data.facts},
    )
    rows = [_annotation(item.id, track, (width, height), item.root / data.file_name) for track in data.tracks]
    others: list[Record] = [*data.instances, *data.coverage]
    if header is None:
        others.append(finding("I01", data.file_name, "no such file, but BURST annotates it", item=item.id))
    for track, row in zip(data.tracks, rows, strict=True):
        if not row.area:
            others.append(finding("M09", data.file_name, f"mask {track.id} is empty; kept as found", item=row.id))
    for role in data.roles:
        others.append(Member(image_id=item.id, role="query" if role == "query" else "gallery"))
    if "query" in data.roles:
        others += [query_of(row, "mask") for track, row in zip(data.tracks, rows, strict=True) if track.chosen]
    return Parsed(image, rows, others)


def _annotation(image_id: str, track: _Track, size: tuple[int, int], path: Path) -> Annotation:
    width, height = size
    rle = Rle((height, width), track.segment.rle)
    wrong = geometry.check_rle(rle)
    if wrong:
        raise SourceError(f"{path}, track {track.id}", wrong, "expected COCO's compressed run lengths of the frame")
    x, y, w, h = geometry.rle_bounds(rle)
    seen = w > 0
    segment = track.segment
    return Annotation(
        id=f"{image_id}#{track.id}",
        image_id=image_id,
        category=track.category,
        source_label=track.label,
        instance=track.instance,
        x=x if seen else None,
        y=y if seen else None,
        w=w if seen else None,
        h=h if seen else None,
        area=float(geometry.rle_area(rle)),
        segmentation=rle,
        score=segment.score,
        attributes=None if segment.is_gt else {"permir": {"is_gt": False}},
    )
