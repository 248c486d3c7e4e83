"""L08: tokens, signed addresses and e-mail addresses in what is about to be given away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc

from curate.columns import flags, plain
from curate.model import Finding, finding
from curate.verify.picture_files import open_file
from curate.verify.report import encodable
from curate.verify.subject import Subject

_SIGNED = r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}"
_NAMED = (
    r"(?i:\b(?:token|api[_-]?key|authorization|password|secret)\b[\"']?\s*[:=]\s*[\"']?"
    r"(?:token |bearer )?[\w.~+/-]{16,})"
)
_ADDRESS = r"[?&](?:X-Amz-Signature|X-Goog-Signature|sig|Signature|AWSAccessKeyId)=[\w%/+=-]{8,}"
# The name of a file may look like an address: 12@N00_7.jpg.
_MAIL = r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[a-zA-Z]{2,}\b"
_SUFFIXES = {"jpg", "jpeg", "png", "webp", "gif", "tif", "tiff", "bmp", "json", "csv", "txt", "xml", "npy"}
_TOKENS = [re.compile(pattern) for pattern in (_SIGNED, _NAMED, _ADDRESS)]
_AT, _BEFORE = re.compile(r"@[\w-]+(?:\.[\w-]+)*\.[a-zA-Z]{2,}\b"), re.compile(r"[\w.+-]{1,64}$")
_MAILBOX = 64  # letters before the @, at most

# Columns in which people and programs leave what is nobody else's; names of files and ids are told by other rules.
_COLUMNS = {
    "images": ("attributes",),
    "annotations": ("origin", "source_label", "attributes"),
    "coverage": ("origin",),
    "instances": ("description", "evidence"),
    "queries": ("text",),
    "support": ("text",),
    "judgements": ("origin",),
}
_TEXTS = {".md", ".csv", ".json", ".jsonl", ".txt", ".tsv", ".yaml", ".yml", ".toml", ".html", ".xml"}
_LARGEST = 1 << 28  # bytes of a text that are looked at together
CONTACTS = "LICENCES.md"  # whose addresses are there to be written to


class Secret(NamedTuple):
    """Where something stands that is nobody else's business. It is never repeated in a message."""

    start: int
    text: str
    what: str

    def __str__(self) -> str:
        return f"{self.what} of {len(self.text)} characters"


def find(text: str) -> Iterator[Secret]:
    """All tokens, signed addresses and e-mail addresses, in their order."""
    found = [
        Secret(m.start(), m[0], "a token or signed address") for pattern in _TOKENS for m in pattern.finditer(text)
    ]
    for match in _AT.finditer(text):
        name = _BEFORE.search(text[max(match.start() - _MAILBOX, 0) : match.start()])
        if name and match[0].rpartition(".")[2].lower() not in _SUFFIXES:
            found.append(Secret(match.start() - len(name[0]), name[0] + match[0], "an e-mail address"))
    return iter(sorted(found))


def mails(text: str) -> set[str]:
    """The e-mail addresses in a text."""
    return {one.text for one in find(text) if "@" in one.text}


def in_tables(subject: Subject) -> Iterator[Finding]:
    """L08, a warning for each column: people's addresses and tokens in the tables; no release is made of them."""
    pattern = "|".join((_SIGNED, _NAMED, _ADDRESS, _MAIL))
    for name, columns in _COLUMNS.items():
        table = subject.table(name)
        for column in columns if table.num_rows else ():
            values = plain(table[column])
            hits = np.flatnonzero(flags(pc.match_substring_regex(values, pattern)))
            rows = [row for row in hits.tolist() if any(find(values[row].as_py()))]
            if rows:
                (first, *_) = find(values[rows[0]].as_py())
                text = f"holds {first}, and {len(rows):,} rows of the column do; expected none in what is given away"
                hint = "redact them; people are named by a short name of their own"
                place = subject.place(name, rows[0], column)
                yield finding("L08", place, text, item=subject.item(name, rows[0]), severity="warning", hint=hint)


def in_release(subject: Subject) -> Iterator[Finding]:
    """L08: in the texts of a release; an address that the licences name as a contact is a note."""
    path: Path = subject.memo["path"]
    contacts = mails(_text(path / CONTACTS))
    for name in sorted(subject.memo["sums"]):
        if Path(name).suffix.lower() not in _TEXTS:
            continue
        text = _text(path / name)
        seen: dict[str, tuple[Secret, int]] = {}
        for one in find(text):
            seen.setdefault(one.text, (one, text.count("\n", 0, one.start) + 1))
        for one, line in seen.values():
            contact = one.text in contacts
            message = f"holds {one}" + (", named as a contact by a licence or citation" if contact else "")
            where = encodable(f"{path}/{name}:{line}")
            hint = None if contact else "redact it in the dataset, and release again"
            yield finding("L08", where, message, item=name, hint=hint, severity="info" if contact else None)


def _text(file: Path) -> str:
    try:
        with open_file(file) as stream:
            return stream.read(_LARGEST).decode("utf-8", "replace")
    except OSError:
        return ""  # V01 says so
