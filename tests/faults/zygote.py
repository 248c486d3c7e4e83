"""A process that has imported everything and forks a fresh curate for each order, so that a thousand runs take minutes.

An order is a line of JSON on stdin: arguments, folder, and what is to go wrong; the answer a line of JSON on stdout.
A killed run dies with all its children by SIGKILL, at the second that the order names.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

NOT_NEEDED = tuple(
    f"curate.{name}"
    for name in ("__main__", "schema", "demo", "review", "recipe", "prelabel.ray", "commands.review", "commands.run")
)


def import_everything() -> None:
    import pkgutil
    from importlib import import_module

    import cv2  # noqa: F401 - these are imported by commands where they are used
    import jinja2  # noqa: F401
    import pandas  # noqa: F401
    import pyarrow.dataset
    import pyarrow.parquet  # noqa: F401
    import scipy.optimize  # noqa: F401

    import curate

    for module in pkgutil.walk_packages(curate.__path__, "curate."):
        if not module.name.startswith(NOT_NEEDED):
            with suppress(Exception):  # the command that needs it will tell
                import_module(module.name)


def drop_capabilities() -> None:
    """Let permissions hold for root too (Linux ``capset``)."""

    class Head(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))

    none = (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(ctypes.byref(Head(0x20080522, 0)), ctypes.byref(none)) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def disturb(order: dict[str, Any]) -> None:
    """What goes wrong from the start, in the run's own process."""
    if order.get("file_limit") is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as Python does; a write then fails with EFBIG
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["file_limit"], order["file_limit"]))
    if order.get("clock"):
        os.environ["TZ"] = "Pacific/Auckland"
        time.tzset()
        ticks = iter(range(2**31, 0, -86_400))
        time.time = lambda: float(next(ticks))  # a day back at every look
        time.time_ns = lambda: next(ticks) * 10**9
    if order.get("powerless"):
        drop_capabilities()


def run(order: dict[str, Any]) -> None:
    os.setsid()
    os.chdir(order["folder"])
    sys.argv = ["curate", *order["arguments"]]
    for stream, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(Path(order["log"]) / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), stream)
    disturb(order)
    from curate.commands import main

    main()


def change(steps: list[dict[str, Any]]) -> None:
    """What somebody else does to files meanwhile."""
    for step in steps:
        if "mode" in step:
            os.chmod(step["path"], step["mode"])  # noqa: PTH101 - as the order has it
        elif "to" in step:
            Path(step["path"]).rename(step["to"])
        else:
            Path(step["path"]).write_bytes(bytes.fromhex(step["content"]))


def serve(order: dict[str, Any]) -> dict[str, Any]:
    start = time.perf_counter()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            run(order)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    after = order.get("after")
    if after is not None:
        while time.perf_counter() - start < after:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return answer(order, status, start)
            time.sleep(0.0005)
        if order.get("meanwhile"):
            change(order["meanwhile"])
        else:
            os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return answer(order, status, start)


def answer(order: dict[str, Any], status: int, start: float) -> dict[str, Any]:
    said = {name: (Path(order["log"]) / name).read_text("utf-8", "replace") for name in ("stdout", "stderr")}
    return {"code": os.waitstatus_to_exitcode(status), "wall": time.perf_counter() - start, **said}


if __name__ == "__main__":
    import_everything()
    for line in sys.stdin:
        print(json.dumps(serve(json.loads(line))), flush=True)
