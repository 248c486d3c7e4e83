"""JSON as text: what a parser says of it, and what it passes over.

JSON parsers keep the last of two equal keys and say nothing. Here the keys that came out of a parser are counted and
compared with the colons in the text (:func:`decode`): only where the numbers differ, and for what a parser refuses, a
slow scanner (:func:`scan`) goes over the text and names the place.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from curate.model import Finding, finding
from curate.verify.subject import short

MAX_DEPTH = 64
MAX_INTEGER = (1 << 63) - 1
EXPECTED = (
    "expected a dataset or release folder, a COCO JSON file, an anns.pt, VOC XML, a gnd_*.pkl of revisitop, a SearchAD "
    "folder, Label Studio's JSON, pictures, or a .zip or .tar"
)


def parse(path: Path, data: bytes) -> tuple[dict[str, msgspec.Raw] | None, list[Finding]]:
    """Split the JSON object in ``data`` into its parts, not yet decoded; None if there is no going on.

    What JSON does not allow but another parser would take (NaN, 1e400, a lone surrogate) is reported and replaced by
    null, so that the rest of the file is still checked.
    """
    found: list[Finding] = []
    try:
        parts = _split(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = list(scan(data.decode("utf-8"), str(path), whole=True))
        mended, problem = _mended(path, data)
        if problem:
            named = problem.code == "F05" and any(one.code == "F05" for one in found)
            return None, found if named else [*([] if problem.code == "F09" else found), problem]
        try:
            parts, data = _split(mended), mended
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return None, [*found, finding("F04", path, str(error))]
    if parts is None:
        return None, [*found, finding("F09", path, f"{_other_shape(data)}; {EXPECTED}")]
    if not found and _colons(data) != len(parts) + sum(_colons(bytes(part)) for part in parts.values()):
        # A part that stands twice is lost already; what is inside the others is found when they are decoded.
        found = [one for one in scan(data.decode("utf-8"), str(path), whole=True, deepest=1) if one.code == "F06"]
    return parts, found


def _split(data: bytes) -> dict[str, msgspec.Raw] | None:
    """The parts of the object in ``data``; None if it is another JSON value. Raises what msgspec raises."""
    try:
        return msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        msgspec.json.decode(data, type=msgspec.Raw)
        return None


def decode(part: bytes, where: str, depth: int = 0) -> tuple[Any, list[Finding]]:
    """Decode ``part``, with what a parser passes over: equal keys, too deep nesting, integers beyond 64 bits.

    What JSON does not allow is reported and replaced by null; where that does not help the value is None.

    Args:
        where: the place of ``part``, as ``"x.json, annotations[17]"``; of a list that stands for some rows of a longer
            one, ``"x.json, annotations[20000:]"``.
        depth: how deep ``part`` itself is nested.
    """
    try:
        value = msgspec.json.decode(part)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        readable = part.decode("utf-8", "replace")  # that it is no UTF-8 is for the reader of the file to say
        found = list(scan(readable, where, depth))
        mended, problem = _mended(Path(where), readable.encode())
        if problem is None:
            return msgspec.json.decode(mended), found or [finding("F04", where, str(error))]
        named = problem.code == "F05" and any(one.code == "F05" for one in found)
        return None, found if named else [*found, problem]
    levels, keys = _measure(value)
    if levels + depth > MAX_DEPTH or not _keys_stand_once(part, keys) or _has_long_integer(part):
        return value, list(scan(part.decode("utf-8"), where, depth))
    return value, []


def _measure(value: Any) -> tuple[int, int]:
    """Levels of nesting of a decoded value (at most one more than the limit), and its number of keys."""
    level = [value] if type(value) in (dict, list) else []
    levels = keys = 0
    while level and levels <= MAX_DEPTH:
        levels += 1
        below: list[Any] = []
        for node in level:
            children = node
            if type(node) is dict:
                keys += len(node)
                children = node.values()
            kinds = set(map(type, children))
            if dict in kinds or list in kinds:
                below += [child for child in children if type(child) in (dict, list)]
        level = below
    return levels, keys


def _keys_stand_once(data: bytes, keys: int) -> bool:
    """Whether a JSON text holds exactly ``keys`` keys, so that none was lost for standing twice.

    There is one colon to a key. Colons after a quotation mark are counted fast, and are too many only where a string
    holds the same two characters; then the strings are told apart.
    """
    return _colons(data) == keys or sum(map(len, _STRING_AND_COLON.findall(data))) == keys


def _colons(data: bytes) -> int:
    """Colons after a quotation mark, with or without spaces between: never less than there are keys."""
    near = data.count(b'":')
    return near if data.count(b":") == near else near + len(_SPACED_COLON.findall(data))


_SPACED_COLON = re.compile(rb'"[ \t\r\n]+:')
_STRING_AND_COLON = re.compile(rb'"(?:[^"\\]|\\.)*"[ \t\r\n]*(:?)')


_DIGITS = bytes(ord("0") if chr(i).isdigit() else ord(" ") for i in range(128)) + b" " * 128


def _has_long_integer(data: bytes) -> bool:
    if b"0" * 19 not in data.translate(_DIGITS):
        return False
    for match in re.finditer(rb"[0-9]{19,}", data):
        before, after = data[max(0, match.start() - 1) : match.start()], data[match.end() : match.end() + 1]
        if before not in (b".", b'"') and after not in (b".", b"e", b"E") and int(match[0][:30]) > MAX_INTEGER:
            return True
    return False


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


def top_level(head: bytes) -> dict[str, str]:
    """The keys of the object that begins in ``head``, which may be cut, with the first character of their values."""
    head = head.removeprefix(b"\xef\xbb\xbf")
    try:
        parts = _split(head) or {}
        return {name: chr(memoryview(part)[0]) for name, part in parts.items()}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # it is cut, or broken
    found: dict[str, str] = {}
    depth, last, key = 0, "", None
    for match in _TOKEN.finditer(head[: 1 << 16].decode("utf-8", "replace")):
        token = match[0]
        if depth == 0 and token != "{":
            break
        if depth == 1 and key is not None:
            found[key], key = token[0], None
        elif depth == 1 and token == ":":
            key = last.strip('"')
        depth += (token in "{[") - (token in "}]")
        last = token
    return found


def scan(
    text: str, where: str, depth: int = 0, *, whole: bool = False, deepest: int | None = None
) -> Iterator[Finding]:
    """Go over JSON ``text`` word by word and yield what F05 to F08 and F10 forbid, each with its place.

    It takes any text, also broken JSON, and keeps no more than the keys of the objects that are open.

    Args:
        where, depth: as :func:`decode`.
        whole: the text is a file; then places say line and column too.
        deepest: look for keys that stand twice only down to this level.
    """
    stack: list[set[str] | None] = []  # for an object its keys, for a list None
    path: list[str | int] = []  # beside it the key or number that is being read
    expects_key = False
    too_deep = False
    counted, line, newline = 0, 1, -1  # up to where lines have been counted: findings come in the order of the text

    def place(offset: int) -> str:
        nonlocal counted, line, newline
        shown = path if len(path) < 12 else [*path[:4], "..."]
        if not whole:
            return _place(where, shown)
        line += text.count("\n", counted, offset)
        newline = max(newline, text.rfind("\n", counted, offset))
        counted = offset
        return f"{_place(where, shown)}, line {line}, column {offset - newline}"

    for match in _TOKEN.finditer(text):
        token, offset = match[0], match.start()
        if token in ("{", "["):
            stack.append(set() if token == "{" else None)
            path.append("" if token == "{" else 0)
            expects_key = token == "{"
            if len(stack) + depth > MAX_DEPTH and not too_deep:
                too_deep = True
                yield finding("F05", place(offset), f"nested deeper than {MAX_DEPTH} levels")
        elif token in ("}", "]"):
            if stack:
                stack.pop()
                path.pop()
            expects_key = False
        elif token == ",":
            keys = stack[-1] if stack else None
            expects_key = keys is not None
            if stack and keys is None:
                path[-1] = int(path[-1]) + 1
        elif token == ":":
            expects_key = False
        elif token[0] == '"':
            value = _unescaped(token)
            keys = stack[-1] if stack else None
            if expects_key and keys is not None:
                path[-1] = value
                if value in keys and (deepest is None or len(stack) <= deepest):
                    yield finding("F06", place(offset), f"key {short(value)} stands twice in one object")
                keys.add(value)
            if "\\" in token and any("\ud800" <= c <= "\udfff" for c in value):
                yield finding(
                    "F10", place(offset), f"{ascii(value)[:60]} holds half of a surrogate pair; expected text"
                )
        else:
            yield from _number(token, place, offset)


def _place(where: str, path: Sequence[str | int]) -> str:
    """The place of a value: ``x.json, annotations[17].bbox``."""
    rows = re.fullmatch(r"(.*)\[(\d+):\]", where, re.DOTALL)
    head, names = where, list(path)
    if rows and names and isinstance(names[0], int):
        head = f"{rows[1]}[{int(rows[2]) + names.pop(0)}]"  # type: ignore[operator]
    inside = "".join(f"[{name}]" if isinstance(name, int) else f".{name}" for name in names)
    return head + (inside if ", " in where else f", {inside.removeprefix('.')}" if inside else "")


def _number(token: str, place: Callable[[int], str], offset: int) -> Iterator[Finding]:
    if token in ("NaN", "Infinity", "-Infinity"):
        yield finding("F07", place(offset), f"number is {token}; expected a finite number")
    elif re.fullmatch(r"-?\d{19,}", token):
        digits = token.lstrip("-").lstrip("0")
        if len(digits) > 19 or int(digits or "0") > MAX_INTEGER + (token[0] == "-"):
            shown = token if len(token) < 30 else f"of {len(digits)} digits"
            yield finding("F08", place(offset), f"integer {shown}; expected at most 64 bits")
    elif re.fullmatch(r"-?\d[\d.]*[eE]\+?\d+", token) and math.isinf(float(token)):
        yield finding("F07", place(offset), f"number is {short(token)}; expected one that a float can hold")


def _unescaped(token: str) -> str:
    if "\\" not in token:
        return token[1:-1]
    try:
        return str(json.loads(token))
    except ValueError:
        return token[1:-1]


def _mended(path: Path, data: bytes) -> tuple[bytes, Finding | None]:
    """The JSON text with what only a lenient parser takes replaced by null, or why there is no parsing it."""

    def finite(number: str) -> float | None:
        return value if math.isfinite(value := float(number)) else None

    def whole(number: str) -> int | None:
        return int(number) if len(number) < 400 else None

    try:
        value = json.loads(data, parse_constant=lambda _: None, parse_float=finite, parse_int=whole)
    except RecursionError:
        return b"", finding("F05", path, f"nested deeper than {MAX_DEPTH} levels")
    except json.JSONDecodeError as error:
        return b"", _not_json(path, data, error)
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"), None


def _not_json(path: Path, data: bytes, error: json.JSONDecodeError) -> Finding:
    lines = [line for line in data[: 1 << 20].split(b"\n", 2) if line.strip()]
    if error.msg == "Extra data" and len(lines) > 1 and _is_object(lines[0]):
        return finding(
            "F09", path, f"is JSON Lines (one object per line); {EXPECTED}", hint="join the lines to one COCO object"
        )
    rest = data.decode("utf-8")[error.pos :].rstrip()
    where = f"{path}, line {error.lineno}, column {error.colno}"
    at_end = len(rest) < 6 and not rest.strip("-0123456789.aeflnrstu") and error.msg != "Extra data"
    if at_end or error.msg.startswith("Unterminated string"):
        text = f"ends in the middle of a value ({short(rest, 30)})" if rest else "ends in the middle of a value"
        return finding("F04", where, text, hint="the file is cut short: copy it again")
    seen = rest[:20]
    return finding("F04", where, f"not JSON: {error.msg[:1].lower()}{error.msg[1:]}; found {short(seen)}")


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(line), dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _other_shape(data: bytes) -> str:
    """What a JSON text holds that is no object."""
    try:
        rows = msgspec.json.decode(data, type=list[msgspec.Raw])
        first = msgspec.json.decode(rows[0]) if rows else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return f"is a single JSON value ({short(data[:20].decode('utf-8', 'replace'))})"
    if not isinstance(first, dict):
        return "is a JSON list"
    if "image_id" in first and ({"bbox", "score", "segmentation"} & set(first)):
        return "is a list of detection results (as pycocotools' loadRes takes), without images and categories"
    if "data" in first and ({"annotations", "predictions"} & set(first)):
        return "is a Label Studio export (JSON)"
    if "image" in first and ({"annotator", "annotation_id", "lead_time", "label"} & set(first)):
        return "is a Label Studio export (JSON_MIN)"
    return f"is a JSON list of objects with the keys {', '.join(sorted(first)[:5])}"


def line_of(data: bytes, offset: int) -> str:
    """Line and column in bytes, from 1, of an offset."""
    before = data[:offset]
    return f"line {before.count(10) + 1}, column {offset - before.rfind(10)}"
