"""run.py: what it finds missing, and what it does about it, with a stand-in for the environment's Python and pip."""

import ast
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.unit

PROJECT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("run", PROJECT / "run.py")
assert spec is not None and spec.loader is not None
run = importlib.util.module_from_spec(spec)
sys.modules["run"] = run
spec.loader.exec_module(run)

posix_only = pytest.mark.skipif(os.name == "nt", reason="the stand-in is a shell script")
HERE = ((3, 11), 64, "linux", "x86_64")

# Answers for .venv's Python: its version, pip's cache folder, and pip and the program by writing down their arguments.
STAND_IN = """#!/bin/sh
case "$*" in
  *"import pip"*) echo {version} ;;
  *"pip cache dir"*) echo "{folder}/cache" ;;
  *"pip install"*)
    echo "$*" >> "{folder}/calls"
    case "$*" in *"$BREAKS"*) [ -n "$BREAKS" ] && {{ echo "$WRITES"; [ -n "$DIES" ] && kill -9 $$; exit 1; }} ;; esac ;;
  *) echo "$*" ;;
esac
exit 0
"""


class Ended(NamedTuple):
    """How a run of run.py ended."""

    returncode: int
    stdout: str
    stderr: str


@dataclass
class Clone:
    """A fresh clone with an empty environment, and a PATH that holds a C++ compiler or nothing."""

    folder: Path

    def __post_init__(self) -> None:
        (self.folder / ".venv/bin").mkdir(parents=True)
        (self.folder / "path").mkdir()
        for name in ("run.py", "constraints.txt", "pyproject.toml"):
            shutil.copy(PROJECT / name, self.folder)
        script = STAND_IN.format(version=run.VERSION, folder=self.folder)
        self.executable(".venv/bin/python", script)
        self.executable("path/c++", "#!/bin/sh\n")

    def executable(self, name: str, script: str) -> None:
        (self.folder / name).write_text(script)
        (self.folder / name).chmod(0o755)

    def starting(self, *arguments: str, **stand_in: str) -> subprocess.Popen[str]:
        """Start run.py; ``breaks``: part of the pip call to fail, ``writes``: its last words, ``dies``: by a kill."""
        environment = {"PATH": str(self.folder / "path"), "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}
        environment |= {name.upper(): stand_in.get(name, "") for name in ("breaks", "writes", "dies")}
        command = [sys.executable, str(self.folder / "run.py"), *arguments]
        return subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def start(self, *arguments: str, **stand_in: str) -> Ended:
        with self.starting(*arguments, **stand_in) as process:
            stdout, stderr = process.communicate(timeout=60)
        return Ended(process.returncode, stdout, stderr)

    @property
    def calls(self) -> list[str]:
        """What pip was called with so far."""
        calls = self.folder / "calls"
        return calls.read_text().splitlines() if calls.exists() else []

    def half_written(self) -> bool:
        """Whether the next start would make the environment anew."""
        command = [sys.executable, "-c", "import run; print(run.half_written())"]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=True).stdout == "True\n"

    def has(self, name: str) -> bool:
        return (self.folder / ".venv" / name).exists()


@pytest.fixture
def clone(tmp_path):
    return Clone(tmp_path / "a clinic's folder")


def test_old_pythons_can_read_the_file_and_say_so():
    assert ast.parse((PROJECT / "run.py").read_text(encoding="utf-8"), feature_version=(3, 8)).body


@pytest.mark.parametrize("version", [(3, 11), (3, 12), (3, 13)])
def test_supported_pythons_are_taken(version):
    assert run.python_problem(version, *HERE[1:]) == ""


@pytest.mark.parametrize("version", [(2, 7), (3, 10), (3, 14), (4, 0)])
def test_other_pythons_are_refused_with_the_way_to_a_right_one(version):
    problem = run.python_problem(version, *HERE[1:])
    assert f"this is Python {version[0]}.{version[1]}" in problem
    assert re.search(r"3\.11, 3\.12 or 3\.13.*(try `python3\.1\d run\.py`|install one)", problem)
    assert "\n" not in problem


@pytest.mark.parametrize("here", [(32, "win32", "x86"), (64, "darwin", "x86_64")])
def test_systems_that_pytorch_is_not_built_for_are_refused(here):
    assert run.python_problem((3, 12), *here)


def test_nothing_is_installed_when_nothing_changed():
    made = run.Setup("same", ("dev", "model"))
    assert run.extras_to_install(made, "same", ["model"], "") == ()


def test_changed_inputs_install_again_all_that_was_there():
    made = run.Setup("old", ("dev", "model"))
    assert run.extras_to_install(made, "new", ["model"], "") == ("dev", "model")


def test_a_missing_extra_is_added_to_those_that_are_there():
    made = run.Setup("same", ("model",))
    assert run.extras_to_install(made, "same", ["dev", "model"], "") == ("dev", "model")


def test_an_engine_that_could_not_be_had_is_tried_again_only_with_another_compiler():
    made = run.Setup("same", (), no_engine_with="none")
    assert run.extras_to_install(made, "same", ["model"], "none") == ()
    assert run.extras_to_install(made, "same", ["model"], "/usr/bin/c++") == ("model",)


def test_fingerprint_tells_apart_what_runs_together():
    assert run.fingerprint("ab", "c") != run.fingerprint("a", "bc")
    assert run.fingerprint("a", b"b") == run.fingerprint("a", "b")


@pytest.mark.parametrize("content", ["", "[]", "null", '{"inputs": "x"}', '{"inputs": 1, "extras": 2}', "\x00"])
def test_a_damaged_record_counts_as_none(tmp_path, content):
    (tmp_path / "setup.json").write_text(content)
    assert run.read_setup(tmp_path / "setup.json") is None
    assert run.read_setup(tmp_path / "absent.json") is None


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("ERROR: Could not install: [Errno 28] No space left on device", "disk is full"),
        ("WARNING: Retrying NewConnectionError(...)\nERROR: No matching distribution found for x", "no connection"),
        ("ERROR: No matching distribution found for torch==2.13.0", "PyTorch has no build for this system"),
        ("Collecting\nERROR: something new\n\n", "something new"),
        ("one line\n", "one line"),
        ("", "ended without a word"),
    ],
)
def test_reason_is_one_line_that_says_what_to_do(output, expected):
    assert expected in run.reason(output)
    assert "\n" not in run.reason(output)


def test_every_direct_dependency_is_pinned_for_every_system():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    constraints = (PROJECT / "constraints.txt").read_text(encoding="utf-8")
    extras = project["optional-dependencies"].values()
    for requirement in [*project["dependencies"], *(line for extra in extras for line in extra)]:
        name = re.split(r"[^A-Za-z0-9_.-]", requirement)[0]
        pattern = "^" + re.sub(r"[-_.]+", "[-_.]", name) + "=="
        assert re.search(pattern, constraints, re.MULTILINE | re.IGNORECASE), f"constraints.txt does not pin {name}"
    assert "+" not in "".join(line for line in constraints.splitlines() if not line.startswith("#"))
    assert not re.search(r"nvidia|cuda|triton|://", constraints)


@posix_only
def test_first_start_installs_and_serves_and_the_second_only_serves(clone):
    first = clone.start("--port", "7999")
    assert first.returncode == 0, first.stderr
    assert len(clone.calls) == 3
    assert "torch==" in clone.calls[0]
    assert "llama_cpp_python==" in clone.calls[1]
    assert "--editable .[model]" in clone.calls[2]
    assert first.stdout.splitlines()[-2:] == ["-m chatbot index", "-m chatbot serve --port 7999"]
    second = clone.start("--", "--port", "7998")
    assert second.stdout.splitlines() == ["-m chatbot serve --port 7998"]
    assert len(clone.calls) == 3


@posix_only
@pytest.mark.parametrize("name", ["constraints.txt", "pyproject.toml"])
def test_changed_pins_or_dependencies_install_again(clone, name):
    clone.start()
    with (clone.folder / name).open("a") as file:
        file.write("# changed\n")
    clone.start()
    assert len(clone.calls) == 6


@posix_only
def test_without_compiler_or_prebuilt_engine_it_serves_vetted_answers_and_says_so_each_time(clone):
    (clone.folder / "path/c++").unlink()
    for _ in range(2):
        started = clone.start()
        assert "Short replies are off; vetted answers work." in started.stdout
        assert started.stdout.splitlines()[-1] == "-m chatbot serve"
    assert [call.split("--constraint constraints.txt ")[1] for call in clone.calls] == [
        run.pinned("torch", (PROJECT / "constraints.txt").read_text()), "--editable .",
    ]  # fmt: skip
    clone.executable("path/c++", "#!/bin/sh\n")
    assert "Short replies are off" not in clone.start().stdout


@posix_only
def test_an_engine_that_does_not_compile_is_done_without(clone):
    started = clone.start(breaks="llama_cpp_python", writes="ERROR: Failed building wheel")
    assert started.returncode == 0
    assert "compiled here in a few minutes: Failed building wheel" in started.stdout
    assert "Short replies are off" in started.stdout
    assert "Setting up" not in clone.start().stdout


@posix_only
def test_a_failed_install_is_one_line_and_status_2_and_the_next_start_goes_on(clone):
    failed = clone.start(breaks="--editable", writes="WARNING: NewConnectionError\nERROR: No matching distribution")
    assert failed.returncode == 2
    assert failed.stderr.startswith("run.py: no connection to the package registry")
    assert failed.stderr.count("\n") == 1
    assert not clone.has("setup.json")
    assert not clone.has("unfinished")
    assert clone.start().returncode == 0
    assert clone.has("setup.json")


@posix_only
def test_an_install_killed_while_it_writes_leaves_the_environment_marked_as_unfinished(clone):
    killed = clone.start(breaks="--editable", writes="Installing collected packages: a, b", dies="yes")
    assert killed.returncode == 2
    assert "ended from outside" in killed.stderr
    assert clone.half_written()
    assert not clone.has("setup.json")


@posix_only
def test_an_install_killed_before_it_writes_is_gone_on_with(clone):
    assert clone.start(breaks="--editable", writes="Collecting gradio", dies="yes").returncode == 2
    assert not clone.half_written()


@posix_only
def test_when_stopped_it_ends_the_step_in_progress(clone):
    pid = clone.folder / "pid"
    answer_version = f'case "$*" in *"import pip"*) echo {run.VERSION}; exit 0 ;; esac'
    clone.executable(".venv/bin/python", f'#!/bin/sh\n{answer_version}\necho $$ > "{pid}"\nexec /bin/sleep 60\n')
    with clone.starting() as process:
        while not (pid.exists() and pid.read_text().strip()):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 143
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    assert not clone.half_written()
