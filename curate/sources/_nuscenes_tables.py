"""The tables that nuScenes and nuImages share: key frames of cameras, with sensor, calibration and log.

A folder such as ``v1.0-mini`` holds the tables, each a JSON list of records; ``token`` names a record, and other
tables refer to it as ``<table>_token``. ``prev`` and ``next`` are "" at the ends, not null.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, NamedTuple, TypeVar

from msgspec import Meta, Struct

from curate.errors import SourceError
from curate.model import DateEvidence, Image, Item, Record, finding
from curate.pictures import Header, read_header
from curate.sources import label_table
from curate.sources._coco_parts import unsafe_name
from curate.sources._files import Listing, Size, agreed_size, list_files
from curate.sources._json_tables import read_records

Token = Annotated[str, Meta(pattern="^[^#]+$")]  # names rows of ours
Count = Annotated[int, Meta(ge=-(2**31), lt=2**31)]
Microseconds = Annotated[int, Meta(ge=0, lt=253_402_300_800_000_000)]  # since 1970; up to the year 9999
Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]  # w, x, y, z

_EPOCH = datetime(1970, 1, 1)
_CAMERA = "CAM_"


class Sensor(Struct, frozen=True):
    token: str
    channel: str
    modality: str


class Calibration(Struct, frozen=True):
    """A sensor's place on the vehicle, and a camera's matrix (empty for other sensors)."""

    token: str
    sensor_token: str
    translation: Vector
    rotation: Quaternion
    camera_intrinsic: list[list[float]] = []
    camera_distortion: list[float] | None = None


class Log(Struct, frozen=True):
    token: str
    logfile: str = ""
    vehicle: str | None = None
    date_captured: str | None = None
    location: str | None = None


class Named(Struct, frozen=True):
    """A category or an attribute."""

    token: str
    name: str


class SampleData(Struct, frozen=True):
    """A sensor's file. ``filename`` is relative to the root; width and height are 0 for what is no picture."""

    token: str
    sample_token: str
    ego_pose_token: str
    calibrated_sensor_token: str
    filename: str
    is_key_frame: bool
    timestamp: Microseconds
    width: Count = 0
    height: Count = 0
    prev: str | None = None
    next: str | None = None


class Shot(NamedTuple):
    """A key frame of a camera, with what is known of its picture's file."""

    folder: str  # of the tables
    record: SampleData
    channel: str
    calibration: Calibration | None
    found: bool  # the picture is there
    error: SourceError | None  # what forbids reading it


T = TypeVar("T", bound=Any)  # a Struct with a token


def table_path(root: Path, folder: str, name: str) -> Path:
    """Where the table ``name`` lies.

    Raises:
        SourceError: it is not there, or a link that leaves the root.
    """
    file = f"{name}.json"
    listing = list_files(root, folder, file)
    if file not in listing:
        expected = "expected a table of nuScenes or nuImages"
        raise SourceError(root / folder / file, "no such file", expected, "unpack the archive of metadata there")
    if error := listing[file]:
        raise error
    return root / folder / file


def by_token(root: Path, folder: str, name: str, kind: type[T]) -> dict[str, T]:
    """A small table by token.

    Raises:
        SourceError: it is not there, unreadable or malformed, or a token stands twice.
    """
    path = table_path(root, folder, name)
    found: dict[str, T] = {}
    for i, record in enumerate(read_records(path, kind)):
        if record.token in found:
            raise SourceError(f"{path}, [{i}].token", f"{record.token!r} stands twice", "expected each token once")
        found[record.token] = record
    return found


def shots(root: Path, folder: str, cameras: Collection[str] | None) -> Iterator[Shot]:
    """The key frames of ``cameras`` (of all if None), in the table's order.

    Raises:
        SourceError: a table is missing, unreadable or malformed, or a picture stands twice.
    """
    sensors = by_token(root, folder, "sensor", Sensor)
    calibrations = by_token(root, folder, "calibrated_sensor", Calibration)
    path = table_path(root, folder, "sample_data")
    listings: dict[str, Listing] = {}
    seen: set[str] = set()
    for i, record in enumerate(read_records(path, SampleData)):
        if not record.is_key_frame:
            continue
        calibration = calibrations.get(record.calibrated_sensor_token)
        sensor = sensors.get(calibration.sensor_token) if calibration else None
        channel = sensor.channel if sensor else PurePosixPath(record.filename).parent.name
        is_camera = sensor.modality == "camera" if sensor else channel.startswith(_CAMERA)
        if not is_camera or not (cameras is None or channel in cameras):
            continue
        where = f"{path}, [{i}]"
        name = key_of(record)
        if name in seen:
            raise SourceError(f"{where}.filename", f"{record.filename} stands twice", "expected each picture once")
        seen.add(name)
        if wrong := unsafe_name(record.filename, where):
            error = SourceError(f"{where}.filename", wrong.found, wrong.expected)
            yield Shot(folder, record, channel, calibration, False, error)
            continue
        parent, _, file = record.filename.rpartition("/")
        if parent not in listings:
            listings[parent] = list_files(root, parent, (".jpg", ".jpeg", ".png"))
        listing = listings[parent]
        yield Shot(folder, record, channel, calibration, file in listing, listing.get(file))


def key_of(record: SampleData) -> str:
    """The name of a picture without folder and ending. It tells log, camera and time, and so stands once."""
    return record.filename.rpartition("/")[2].rpartition(".")[0]


def read_picture(item: Item, shot: Shot) -> tuple[Size | None, Header | None, list[Record]]:
    """The size of a key frame, its picture's header, and a finding if the picture is not there.

    Raises:
        SourceError: the picture is broken, may not be read, or has another size than its table says.
    """
    if shot.error:
        raise shot.error
    record = shot.record
    path = item.root / shot.folder / "sample_data.json"
    stated = (record.width, record.height) if record.width or record.height else None
    if shot.found:
        header = read_header(item.root / record.filename)
        size = (header.width, header.height)
        return agreed_size(path, stated, size) if stated else size, header, []
    missing = finding("I01", record.filename, f"no such file, but {shot.folder} names it", item=item.id)
    return agreed_size(path, stated, None) if stated else None, None, [missing]


def image_of(item: Item, shot: Shot, size: Size | None, header: Header | None, log: Log | None) -> Image:
    """The row of a key frame, without what the two datasets know beyond the shared tables."""
    record = shot.record
    taken, evidence = _taken(record, log)
    known = {
        "token": record.token,
        "sample_token": record.sample_token,
        "channel": shot.channel,
        "timestamp": record.timestamp,
        "ego_pose_token": record.ego_pose_token,
        "calibrated_sensor_token": record.calibrated_sensor_token,
        "prev": record.prev,
        "next": record.next,
        "logfile": log.logfile if log else None,
        "vehicle": log.vehicle if log else None,
        "date_captured": log.date_captured if log else None,
    }
    return Image(
        id=item.id,
        source="nuscenes",
        source_split=item.split,
        file_name=record.filename,
        width=size[0] if size else None,
        height=size[1] if size else None,
        orientation=header.orientation if header else None,
        place=log.location if log else None,
        taken_at=taken,
        date_evidence=evidence,
        attributes={"nuscenes": {name: value for name, value in known.items() if value is not None}},
    )


def _taken(record: SampleData, log: Log | None) -> tuple[str, DateEvidence]:
    """When a picture was taken, in UTC. Proven if the log's own date agrees, by the offset that its name states."""
    moment = _EPOCH + timedelta(microseconds=record.timestamp)
    proven = False
    if log and log.logfile[-5:-4] in ("+", "-") and log.logfile[-4:].isdecimal():
        offset = timedelta(hours=int(log.logfile[-4:-2]), minutes=int(log.logfile[-2:]))
        local = moment + (offset if log.logfile[-5] == "+" else -offset)
        proven = log.date_captured == local.date().isoformat()
    return moment.replace(tzinfo=UTC).isoformat(), "proven" if proven else "claimed"


@cache
def annotated_classes() -> tuple[str, ...]:
    """The 23 classes that are annotated with boxes."""
    return tuple(row["category"] for row in label_table("nuscenes") if row["kind"] == "3D box")
