"""What several commands share: results that are shown."""

from __future__ import annotations

import pytest

from curate.commands.options import show_result, table


def test_names_cannot_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    text = table([("\x1b]0;pwn\x07car", 3), ("a\nb", 1000)], ("class", "objects"))
    assert text.splitlines() == [
        f"{'class':17}  objects",
        "\\x1b]0;pwn\\x07car        3",
        f"{'a' + chr(92) + 'nb':17}    1,000",
    ]
    show_result({}, "cars:\n\x1b[2J\tcar\r\x9b\xa0", as_json=False, quiet=False)
    assert capsys.readouterr().out == "cars:\n\\x1b[2J\tcar\\r\\x9b\xa0\n"
