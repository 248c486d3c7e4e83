"""Export formats: one module each, found by listing this folder. This file need not change when one is added.

An exporter's docstring says in its first line what it writes, and it has one function::

    def write(dataset, path, *, overwrite=False, compat=None, ...) -> dict[str, int]

It writes ``path`` whole or not at all and returns counts by name. ``compat="upstream"`` asks for the file as upstream's
own program makes it, faults included; an exporter without such a variant refuses it. Further keyword arguments are
options of the format; ``curate export`` passes on those that are given.
"""

from __future__ import annotations

import ast
from importlib import import_module, resources
from pkgutil import iter_modules
from typing import Any

from curate.errors import UsageError, did_you_mean


def names() -> list[str]:
    """All formats, sorted."""
    return sorted(module.name for module in iter_modules(__path__) if not module.name.startswith("_"))


def load(name: str) -> Any:
    """The module of the format ``name``.

    Raises:
        UsageError: there is no such format.
    """
    if name not in names():
        raise UsageError(
            f"format {name!r}", "unknown", f"expected one of {', '.join(names())}", did_you_mean(name, names())
        )
    return import_module(f"{__name__}.{name}")


def title(name: str) -> str:
    """What the format ``name`` is: the first line of its module's docstring, read without importing the module."""
    text = resources.files(__package__).joinpath(f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").split("\n")[0]
