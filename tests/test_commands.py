"""The command line as a user meets it: exit codes, one line per error, and a quick start."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from PIL import Image

from curate import store
from curate.commands import VERBS

Run = Callable[..., "subprocess.CompletedProcess[str]"]
HEAVY = {"numpy", "pandas", "pyarrow", "PIL", "torch", "jinja2", "pycocotools", "shapely", "msgspec", "yaml"}
HEAVY |= {"httpx", "label_studio_sdk", "pydantic"}

# The command line, with 'curate sources' replaced by one line of Python.
INSTEAD = """
import sys, time
from curate import commands, errors, importing
def names():
    print("ready", flush=True)
    {body}
importing.names = names
sys.argv = ["curate", *{arguments!r}]
commands.main()
"""


def instead(body: str, *arguments: str, **options: object) -> subprocess.Popen[str]:
    script = INSTEAD.format(body=body, arguments=arguments or ("sources",))
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen([sys.executable, "-c", script], **options)  # type: ignore[call-overload, no-any-return]


def outcome(body: str, *arguments: str) -> tuple[int, list[str]]:
    process = instead(body, *arguments)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors.splitlines()


# Help


def modules_after(*arguments: str) -> set[str]:
    script = f"""
import sys
sys.argv = ["curate", *{arguments!r}]
from curate import commands
try:
    commands.main()
finally:
    print("MODULES", *sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in done.stdout.partition("MODULES")[2].split()}


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), (), *[(verb, "--help") for verb in VERBS]])
def test_help_needs_no_heavy_module(arguments: tuple[str, ...]) -> None:
    if not arguments:
        arguments = ("-h",)
    assert not modules_after(*arguments) & HEAVY


def test_heavy_modules_would_be_noticed() -> None:
    assert {"pyarrow", "numpy", "msgspec"} <= modules_after("sources")


def test_help_lists_every_verb(curate: Run) -> None:
    text = curate("--help").stdout
    for verb, what in VERBS.items():
        assert re.search(rf"^  {verb} +{re.escape(what.split()[0])}", text, re.MULTILINE), verb


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_and_every_option_is_explained(curate: Run, verb: str) -> None:
    pending = [[verb]]
    while pending:
        words = pending.pop()
        page = curate(*words, "--help").stdout
        usage, _, rest = page.partition("\n\n")
        assert usage.startswith(f"Usage: python -m curate {' '.join(words)} ")
        assert rest.partition("Options:")[0].split(), f"no description: {page}"
        options, _, commands = rest.partition("Options:\n")[2].partition("\nCommands:\n")
        for block in re.split(r"\n(?=  -)", options.partition("\n\n")[0]):
            names, _, what = block.strip().partition("  ")
            assert what.strip(), f"{words}: {names} is not explained"
        if not commands and verb != "review":  # whose help shows a whole round at once
            assert f"\n    curate {' '.join(words)} " in rest or f"\n    curate {words[0]}\n" in rest, "no example"
        pending += [[*words, name] for name in re.findall(r"^  ([a-z][a-z_-]*)", commands, re.MULTILINE)]


def test_the_version(curate: Run) -> None:
    assert re.fullmatch(r"curate \d+\.\d+\.\d+\S*\n", curate("--version").stdout)


def test_the_launcher_of_a_checkout_is_the_same_command(tmp_path: Path) -> None:
    launcher = Path(__file__).parent.parent / "cli.py"
    done = subprocess.run([sys.executable, launcher, "--help"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: cli.py [OPTIONS] COMMAND")


# Wrong usage


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("imprt",), "No such command 'imprt'. Did you mean 'import'?"),
        (("zzz",), "No such command 'zzz'.\n"),
        (("sources", "--nonsense"), "No such option '--nonsense'"),
        (("import",), "Missing argument 'SOURCE'"),
        (("import", "kitti", "somewhere"), "Missing option '-o' / '--output'"),
        (("import", "kitti", "somewhere", "-o", "out", "-j", "x"), "'x' is not a valid integer"),
        (("import", "kitti", "somewhere", "-o", "out", "--root", "nonsense"), "--root nonsense: "),
        (("sources", "kiti"), "wilddash2; did you mean 'kitti'?"),
        (("import", "KITTI", "somewhere", "-o", "out"), "wilddash2; did you mean 'kitti'?"),
        (("export", "coko", "somewhere", "-o", "out"), "searchad; did you mean 'coco'?"),
        (("import", "kitti", ".", "-o", "out", "--split", "nights"), "unknown split; expected one of "),
    ],
)
def test_wrong_usage_exits_with_2_and_writes_nothing(
    curate: Run, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    assert message in curate(*arguments, code=2).stderr
    assert list(tmp_path.iterdir()) == []


def test_no_command_shows_the_help(curate: Run) -> None:
    done = curate(code=None)
    assert done.returncode == 2
    assert "Commands:" in done.stderr + done.stdout


# Errors


def test_an_error_is_one_line_each_and_exit_code_1() -> None:
    body = """raise errors.SourceError("a\\x1b.txt:3", "14 columns", "expected 15", "mend it",
        also=[errors.SchemaError("b", "c")])"""
    assert outcome(body) == (1, [r"curate: a\x1b.txt:3: 14 columns; expected 15; mend it", "curate: b: c"])
    assert outcome("raise errors.UsageError('a', 'b')") == (2, ["curate: a: b"])


@pytest.mark.parametrize("arguments", [("--debug", "sources"), ("sources", "--debug")])
def test_debug_shows_the_traceback(arguments: tuple[str, ...]) -> None:
    code, lines = outcome("raise errors.SourceError('a', 'b')", *arguments)
    assert code == 1
    assert lines[0].startswith("Traceback")
    assert lines[-1] == "curate.errors.SourceError: a: b"


def test_a_defect_of_the_program_keeps_its_traceback() -> None:
    code, lines = outcome("1 / 0")
    assert code == 1
    assert lines[0].startswith("Traceback")
    code, lines = outcome("'ü'.encode('ascii')")
    assert lines[0].startswith("Traceback")


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (
            "open('/dev/null/x')",
            "curate: /dev/null/x: Not a directory; a part of the path is a file; name another place",
        ),
        ("open('absent')", "curate: absent: No such file or directory; check the path"),
        ("open('/dev/full', 'wb', 0).write(b'x')", "curate: output: No space left on device; free some space, .*"),
        ("open('x' * 300)", "curate: x{300}: File name too long; choose a shorter name"),
        ("raise PermissionError(13, 'no', 'f')", "curate: f: Permission denied; check the permissions, .*"),
        ("raise OSError(30, 'no', 'f\\n')", r"curate: f\\n: Read-only file system; write elsewhere"),
        ("'caf\\udce9'.encode()", r"curate: caf\\udce9: is not UTF-8 text; .*"),
    ],
)
def test_errors_of_the_system_are_a_line(body: str, line: str) -> None:
    code, (found,) = outcome(body)
    assert code == 1
    assert re.fullmatch(line, found)


# Interruptions


@pytest.mark.timeout(60)
@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_exits_with_130_and_a_word(signal_: signal.Signals) -> None:
    process = instead("time.sleep(50)")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal_)
    _, errors = process.communicate()
    assert process.returncode == 130
    (line,) = errors.strip().splitlines()
    assert line == "curate: interrupted; nothing half-written was left; run the same command again"


@pytest.mark.parametrize("arguments", [("--help",), ("sources",), ("sources", "--json")])
def test_a_reader_that_goes_away_is_no_error(arguments: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-m", "curate", *arguments], stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert done.stderr == b""
    assert done.returncode == 0


def test_a_name_that_the_terminal_cannot_show_is_no_failure() -> None:
    process = instead(r"print('caf\udce9 größe'); sys.exit(0)", env=os.environ | {"PYTHONIOENCODING": "ascii"})
    output, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    assert r"caf\udce9 gr\xf6\xdfe" in output


# Outputs that cannot be written


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("file/out", "file: File exists; a part of the path is a file; name another place"),
        ("file/deeper/out", "file/deeper: Not a directory; a part of the path is a file; name another place"),
        ("x" * 250, f"curate: {'x' * 250}: File name too long; choose a shorter name"),
    ],
)
def test_an_output_that_cannot_be_is_a_line(curate: Run, tmp_path: Path, output: str, message: str) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "boxes.json").write_text('{"images": [], "annotations": [], "categories": []}')
    (line,) = curate("import", "coco", "boxes.json", "-o", output, code=1).stderr.splitlines()
    assert line.endswith(message)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["boxes.json", "file"]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.fixture(scope="module")
def many_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A KITTI tree of 3,000 images."""
    root = tmp_path_factory.mktemp("raw")
    for folder in ("image_2", "label_2"):
        (root / "training" / folder).mkdir(parents=True)
    stream = io.BytesIO()
    Image.new("RGB", (60, 20)).save(stream, "PNG")
    row = "Car 0.00 0 1.85 10.00 5.00 20.00 15.00 1.67 1.87 3.69 -16.53 2.39 58.49 1.57\n"
    for i in range(3000):
        (root / "training" / "image_2" / f"{i:06d}.png").write_bytes(stream.getvalue())
        (root / "training" / "label_2" / f"{i:06d}.txt").write_text(row)
    return root


@pytest.mark.timeout(120)
@pytest.mark.parametrize("delay", [0, 0.1, 0.4, 1.0])
def test_an_import_that_is_interrupted_leaves_nothing_and_can_be_repeated(
    many_files: Path, tmp_path: Path, curate: Run, delay: float
) -> None:
    command = [sys.executable, "-m", "curate", "import", "kitti", str(many_files), "-o", "out", "-j", "2"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        while not psutil.Process(process.pid).children() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGINT)  # what a terminal sends for Ctrl-C: to the workers too
        _, errors = process.communicate()
    assert "Traceback" not in errors
    if not (tmp_path / "out").exists():  # else it was done already, and perhaps about to end
        assert process.returncode == 130
        assert errors.strip() == "curate: interrupted; nothing half-written was left; run the same command again"
        assert list(tmp_path.iterdir()) == []
        curate("import", "kitti", many_files, "-o", "out", "-j", "2")
    assert store.read(tmp_path / "out").counts()["images"] == 3000


@pytest.mark.timeout(120)
def test_a_worker_that_is_killed_ends_the_import_with_a_line(many_files: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "curate", "import", "kitti", str(many_files), "-o", "out", "-j", "2"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        workers: list[psutil.Process] = []
        while not workers and process.poll() is None:
            # The first child may be the one that looks after shared resources.
            with contextlib.suppress(psutil.Error):
                children = psutil.Process(process.pid).children()
                workers = [child for child in children if any("spawn_main" in word for word in child.cmdline())]
        workers[0].kill()
        _, errors = process.communicate()
    assert process.returncode == 1
    assert errors.startswith("curate: engine: a worker process died; ")
    assert list(tmp_path.iterdir()) == []


def test_thousands_of_errors_do_not_fill_the_screen() -> None:
    many = "raise errors.SourceError('a', 'is broken', also=[errors.SourceError(str(i), 'too') for i in range(3000)])"
    code, lines = outcome(many)
    assert code == 1
    assert lines[0] == "curate: a: is broken"
    assert lines[-1] == "curate: and 2,961 more like these"
    assert len(lines) == 41


def test_a_package_of_an_extra_that_is_missing_is_named() -> None:
    code, lines = outcome("raise ModuleNotFoundError('no scipy', name='scipy.io')")
    said = "curate: scipy is not installed; this command needs it; install it: pip install 'curate[review]'"
    assert (code, lines) == (1, [said])
    code, lines = outcome("raise ModuleNotFoundError('a fault of ours', name='curate.nothing')")
    assert code == 1 and "Traceback" in lines[0]
