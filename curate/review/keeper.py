"""Runs a command for as long as whoever started this lives: it is ended when standard input ends.

That end comes by whatever ends the starter, SIGKILL too. Run as a program, with the command as its arguments; the first
line of standard output is the command's process id, all that it says itself goes to standard error.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading

PATIENCE = 10  # seconds between asking it to end and ending it


def keep(words: list[str]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    try:
        with contextlib.suppress(BrokenPipeError):
            print(child.pid, flush=True)
        threading.Thread(target=lambda: os._exit(child.wait() & 0xFF), daemon=True).start()
        sys.stdin.buffer.read()
    finally:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(PATIENCE)
        child.kill()


if __name__ == "__main__":
    keep(sys.argv[1:])
