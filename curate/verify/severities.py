"""A project's own severities: a TOML file that raises or lowers what a rule's findings count as.

::

    [severity]
    R08 = "error"     # every image must show something
    B04 = "info"
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import cast, get_args

from msgspec.structs import replace

from curate.codes import CODES, Severity
from curate.errors import UsageError
from curate.model import Finding
from curate.verify.picture_files import open_file

_LARGEST = 1 << 20  # bytes


def read(path: Path | str) -> dict[str, Severity]:
    """Severities by code, from the table ``severity`` of a TOML file.

    Raises:
        UsageError: the file cannot be read, or names an unknown code or severity.
    """
    try:
        with open_file(Path(path)) as stream:
            text = stream.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            raise UsageError(path, "is larger than 1 MiB", "expected a few lines of TOML")
        value = tomllib.loads(text.decode("utf-8"))
    except OSError as error:
        raise UsageError(path, f"cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(path, f"is no TOML ({error})", 'expected lines like R08 = "error" under [severity]') from error
    table = value.get("severity")
    if not isinstance(table, dict) or set(value) != {"severity"}:
        found = f"has {', '.join(map(repr, sorted(value))) or 'nothing'} at its top"
        raise UsageError(path, found, "expected the table [severity] and no other")
    return check(table, path)


def check(table: Mapping[str, object], where: object = "severities") -> dict[str, Severity]:
    """``table`` as severities by code, sorted.

    Raises:
        UsageError: a code or a severity is unknown.
    """
    words = get_args(Severity)
    for code, word in table.items():
        if code not in CODES:
            raise UsageError(f"{where}, severity of {code!r}", "no such code", "expected one like M04")
        if word not in words:
            raise UsageError(f"{where}, severity of {code}", f"is {word!r}", f"expected one of {', '.join(words)}")
    return {code: cast(Severity, table[code]) for code in sorted(table)}


def apply(findings: Iterable[Finding], severities: Mapping[str, Severity]) -> Iterator[Finding]:
    """``findings`` with the severities of a project."""
    for one in findings:
        yield replace(one, severity=severities[one.code]) if one.code in severities else one
