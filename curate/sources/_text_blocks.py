"""Long lists of ids, one per line, read in parts of whole lines: memory does not grow with the list."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from curate.errors import SourceError

_BLOCK = 1 << 22  # bytes of text read at a time
_LONGEST = 1 << 12  # bytes of one id


def text_blocks(path: Path) -> Iterator[str]:
    """The text of a file, unpacked if its name ends in ``.gz``, in parts of whole lines.

    Raises:
        SourceError: it is missing, cut short, no UTF-8 text, or has a line that is no id for its length.
    """
    rest = b""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            while data := stream.read(_BLOCK):
                head, newline, tail = data.rpartition(b"\n")
                if newline:
                    yield (rest + head).decode()
                    rest = tail
                else:
                    rest += tail
                if len(rest) > _LONGEST:
                    raise SourceError(path, f"a line is longer than {_LONGEST} bytes", "expected one id per line")
        if rest:
            yield rest.decode()
    except (EOFError, zlib.error) as error:
        raise SourceError(path, f"is cut short or damaged ({error})", hint="download it again") from error
    except UnicodeDecodeError as error:
        raise SourceError(path, "holds text that is not UTF-8", "expected ids, one per line") from error
    except OSError as error:  # gzip's own among them
        expected = "expected a gzip file" if path.suffix == ".gz" else "expected a text file"
        raise SourceError(path, f"cannot be read ({error})", expected, "download it again") from error
