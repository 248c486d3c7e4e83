"""What a recipe and ``run.json`` hold."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

RECORD = "run.json"
Name = Annotated[
    str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,59}$(?!\n)")
]  # a "$" of Python allows a line break after it
Value = str | bool | int | float | None


class Step(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One command."""

    name: Annotated[Name, Meta(description="of the step, and of the file or folder that it writes")]
    command: Annotated[str, Meta(description="as it is typed after 'curate', without options: build subset")]
    root: Annotated[
        str | None, Meta(description="of an import: the name of a root, or of something in it, root/folder")
    ] = None
    inputs: Annotated[
        str | list[str], Meta(description="names of what earlier steps write, or of something in it, name/file")
    ] = []
    options: Annotated[
        dict[str, Value | list[Value] | dict[str, Value]],
        Meta(description="as the command has them, without '--'; a list repeats one, a mapping gives NAME=VALUE"),
    ] = {}


class Recipe(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """``NAME.yaml``."""

    title: str
    about: Annotated[str, Meta(description="what it makes, and by which rule")] = ""
    roots: Annotated[dict[Name, str], Meta(min_length=1, description="the raw downloads, and what must lie in each")]
    steps: Annotated[list[Step], Meta(min_length=1)]


class Made(Struct, frozen=True, kw_only=True):
    """What is known of a step that was begun."""

    command: Annotated[str, Meta(description="as it is typed in this folder, without roots")]
    made_of: Annotated[dict[str, str], Meta(description="what the output hangs on, each with its mark")]
    outputs: Annotated[
        dict[str, str | None], Meta(description="file or folder -> SHA-256 of its content; null while it is made")
    ]
    counts: dict[str, int]


class Record(Struct, frozen=True, kw_only=True):
    """``run.json``."""

    report: Literal["curate run"] = "curate run"
    recipe: str
    steps: dict[str, Made]
