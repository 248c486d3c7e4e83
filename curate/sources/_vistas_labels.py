"""The classes of a Mapillary Vistas download, from its own ``config.json``: a class's place in the list is its id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from curate.errors import SourceError
from curate.sources._files import read_json

# Classes of v2.0 that mark several objects at once.
GROUPS = ("human--person--person-group", "object--support--pole-group", "object--vehicle--vehicle-group")


class Version(NamedTuple):
    """Where a version of the annotations lies: folder in a split (with a slash), config, panoptic file, our table."""

    folder: str
    config: str
    panoptic: str
    table: str


VERSIONS = {
    "v2.0": Version("v2.0/", "config_v2.0.json", "panoptic_2020.json", "mapillary_vistas_v2.0"),
    "v1.2": Version("v1.2/", "config_v1.2.json", "panoptic_2018.json", "mapillary_vistas_v1.2"),
    # The older archive, whose annotations lie in the split itself.
    "v1.1": Version("", "config.json", "panoptic_2018.json", "mapillary_vistas_v1.2"),
}


class Label(Struct, frozen=True):
    """A class, as the config has it; ``instances`` says whether its objects are told apart."""

    name: str
    instances: bool


class _Config(Struct, frozen=True):
    labels: list[Label]


_config = msgspec.json.Decoder(_Config)


def read_labels(root: Path, version: Version) -> tuple[Label, ...]:
    """The classes of a version, in the order of their ids.

    Raises:
        SourceError: the config is missing or malformed, or names a class twice.
    """
    path = root / version.config
    if not path.exists():
        hint = "it lies at the top of the archive, beside training/"
        raise SourceError(path, "no such file", "expected the list of classes", hint)
    labels = read_json(path, _config).labels
    names: set[str] = set()
    for i, label in enumerate(labels):
        if label.name in names:
            raise SourceError(f"{path}, labels[{i}]", f"names {label.name!r} a second time", "expected each class once")
        names.add(label.name)
    return tuple(labels)


def by_number(labels: Sequence[Label], number: int) -> Label:
    """The class with an id; one beyond the list is a class of its own, named by the id."""
    return labels[number] if number < len(labels) else Label(str(number), True)
