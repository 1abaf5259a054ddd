#!/usr/bin/env python3
"""Sets up everything beside this file, then serves the patients' page or runs the tests.

python3 run.py [options of `healthfaq serve`]    the page, on http://127.0.0.1:7860 unless --port says otherwise
python3 run.py test [options of pytest]          every check, then the tests

Needs Python 3.11 to 3.13, and a C++ compiler for short replies by the language model. Everything goes into the
folder .venv: delete it to begin again. What was installed, and from what, stands in .venv/setup.json; as long
as that still fits, nothing is installed and the network is not touched. The log is .venv/install.log.
"""

# Only the standard library, and nothing newer than Python 3.8 in the syntax: an old Python has to be able to read
# this file to say that it is too old.
from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
RECORD = VENV / "setup.json"
UNFINISHED = VENV / "unfinished"  # there while pip runs; a kill leaves it behind
LOG = VENV / "install.log"
STEP_MARK = "== "  # begins the line in the log that names a step

OLDEST, NEWEST = (3, 11), (3, 13)
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"  # the registry's torch brings 2 GB for graphics cards on Linux
ENGINE_INDEX = "https://abetlen.github.io/llama-cpp-python/whl/cpu"  # llama-cpp-python's own wheels, if no compiler
PROBE_S = 4
# Some virtual machines offer AMX and then fault on it, which would end the engine at its first prompt.
WITHOUT_AMX = ("-mno-amx-tile", "-mno-amx-int8", "-mno-amx-bf16")
DEBIAN_TOOLS = {  # what the tests drive: package -> the commands of which one will do
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
    "strace": ("strace",),
    "util-linux": ("unshare",),
}


class SetupError(Exception):
    """One line that says what is missing and how to get it."""


class StepError(Exception):
    """A step ended badly; the text is the reason in one line."""


@dataclass(frozen=True)
class Setup:
    """What .venv was made from.

    Attributes:
        inputs: Fingerprint of everything that decides what is installed.
        extras: Extras of pyproject.toml that are installed; "model" is among them if its engine could be had.
        no_engine_with: The compiler ("none" without one) that could not give us the engine; else empty.
    """

    inputs: str
    extras: tuple[str, ...]
    no_engine_with: str = ""


# ---- What is needed: plain functions on plain values


def python_problem(version: tuple[int, int], bits: int, system: str, machine: str) -> str:
    """Return why this Python will not do and what to do about it, or nothing."""
    found = f"this is Python {version[0]}.{version[1]}"
    if not OLDEST <= version <= NEWEST:
        names = [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
        present = next((name for name in names if shutil.which(name)), "")
        way = f"try `{present} run.py`" if present else "install one from your system's packages or python.org"
        return f"needs Python 3.11, 3.12 or 3.13, {found}; {way}"
    if bits < 64:
        return f"needs a 64-bit Python, {found} with {bits} bits; install the 64-bit one from python.org"
    if system == "darwin" and machine == "x86_64":
        return "PyTorch is no longer built for Macs with an Intel processor; use another computer"
    return ""


def fingerprint(*parts: bytes | str) -> str:
    """Return one hash over all parts; different lists of parts never give the same bytes."""
    whole = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        whole.update(len(content).to_bytes(8, "big") + content)
    return whole.hexdigest()


def read_setup(path: Path) -> Setup | None:
    """Return what a finished set-up left behind; None if there is none or it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Setup(str(content["inputs"]), tuple(content["extras"]), str(content["no_engine_with"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def extras_to_install(made: Setup | None, inputs: str, wanted: Iterable[str], compiler: str) -> tuple[str, ...]:
    """Return the extras that an install must leave behind, or nothing if the environment is up to date.

    An engine that could not be had is only tried again once there is another compiler.
    """
    if made is None:
        return tuple(sorted(set(wanted)))
    union = tuple(sorted({*wanted, *made.extras}))
    given_up = {"model"} if made.no_engine_with == compiler else set()
    return () if made.inputs == inputs and set(union) <= {*made.extras, *given_up} else union


def pinned(name: str, constraints: str) -> str:
    """Return ``name==version`` as the constraints have it."""
    found = re.search(rf"^{re.escape(name)}==\S+", constraints, re.MULTILINE | re.IGNORECASE)
    if found is None:
        raise SetupError(f"constraints.txt does not pin {name}; take the file from the repository again")
    return found.group()


KNOWN_REASONS = {
    r"No space left on device|not enough space on the disk": "the disk is full; free about 4 GB and run this again",
    r"NewConnectionError|NameResolutionError|Failed to establish|ConnectTimeout|getaddrinfo failed|ProxyError"
    r"|Network is unreachable": "no connection to the package registry; connect or set HTTPS_PROXY, run this again",
    r"CERTIFICATE_VERIFY_FAILED": "the registry's certificate is not trusted here; set PIP_CERT to your CA file",
    r"No matching distribution found for torch": "PyTorch has no build for this system; it needs Linux with glibc, "
    "a Mac with Apple silicon, or Windows",
    r"Permission denied|PermissionError": "may not write to .venv; check who owns it and that it is not in use",
}


def reason(output: str) -> str:
    """Return one line on why a command failed, from what it wrote."""
    for pattern, line in KNOWN_REASONS.items():
        if re.search(pattern, output, re.IGNORECASE):
            return line
    errors = re.findall(r"^\s*(?:ERROR|error|E): (.+)$", output, re.MULTILINE)
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return str(errors[-1]) if errors else lines[-1] if lines else "it ended without a word"


# ---- Steps: each shows itself and its seconds, and leaves its output in the log


def say(line: str) -> None:
    """Print a line at once, however the output is buffered."""
    print(line, flush=True)


def show(line: str, *, last: bool = False) -> None:
    """On a terminal, put a line in the place of the one shown before; elsewhere print the last one alone."""
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1
        print("\r" + line[:width].ljust(width), end="\n" if last else "", flush=True)
    elif last:
        say(line)


def child_environment(**more: str) -> dict[str, str]:
    """Return this environment without what would lead Python or pip out of .venv."""
    astray = {"PYTHONHOME", "PYTHONPATH", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "__PYVENV_LAUNCHER__"}
    kept = {name: setting for name, setting in os.environ.items() if name not in astray}
    return {**kept, "PYTHONUTF8": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **more}


def run_quietly(command: Sequence[str | Path], text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a short command, with a text to read, and return its status and what it wrote."""
    return subprocess.run(
        [str(part) for part in command], input=text, capture_output=True, encoding="utf-8", errors="replace",
        env=child_environment(), check=False,
    )  # fmt: skip


def step(label: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
    """Run a command with its output in the log, showing the label and the seconds.

    Raises:
        StepError: It ended with another status than 0.
    """
    started = time.monotonic()
    with LOG.open("ab") as log:
        log.write(f"\n{STEP_MARK}{label}\n".encode())
        log.flush()
        process = subprocess.Popen(
            [str(part) for part in command], cwd=ROOT, env=environment or child_environment(),
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            watch(process, label, started)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    show(f"  {label}: {'failed, ' if process.returncode else ''}{time.monotonic() - started:.0f} s", last=True)
    if process.returncode:
        killed = f"it was ended from outside (signal {-process.returncode}); run this again"
        raise StepError(killed if process.returncode < 0 else reason(last_output()))


def watch(process: subprocess.Popen[bytes], label: str, started: float) -> None:
    """Wait for a step; on a terminal show each second how long it has run and the last line it wrote."""
    if not sys.stdout.isatty():
        say(f"  {label} ...")
    while process.poll() is None:
        latest = next((line.strip() for line in reversed(last_output().splitlines()) if line.strip()), "")
        show(f"  {label} ... {time.monotonic() - started:.0f} s  {latest}")
        try:
            process.wait(1)
        except subprocess.TimeoutExpired:
            continue


def last_output() -> str:
    """Return what the last step wrote."""
    return LOG.read_text(encoding="utf-8", errors="replace").rpartition(f"\n{STEP_MARK}")[2].partition("\n")[2]


# ---- What is here already


def reachable(url: str) -> bool:
    """Return whether a host answers within a few seconds, so that pip never waits minutes for it."""
    answers: list[bool] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(url + "/", method="HEAD"), timeout=PROBE_S):
                answers.append(True)
        except (OSError, ValueError):
            answers.append(False)  # no network, a name that is not found, a refusal: all the same here

    thread = threading.Thread(target=ask, daemon=True)  # a name server that is silent holds it longer than the timeout
    thread.start()
    thread.join(PROBE_S + 1)
    return any(answers)


def find_compiler() -> str:
    """Return what would build C++ here, or "none"."""
    if sys.platform == "darwin":  # /usr/bin/c++ is there without the tools as well, and opens a window when run
        return run_quietly(["xcode-select", "-p"]).stdout.strip() or "none"
    if os.name == "nt":
        programs = Path(os.environ.get("PROGRAMFILES(X86)", "C:/Program Files (x86)"))
        finder = programs / "Microsoft Visual Studio/Installer/vswhere.exe"
        if not finder.exists():
            return shutil.which("cl") or "none"
        parts = ["-products", "*", "-requires", "Microsoft.VisualStudio.Component.VC.Tools.x86.x64"]
        return run_quietly([finder, *parts, "-property", "installationPath"]).stdout.strip() or "none"
    names = [*shlex.split(os.environ.get("CXX", ""))[:1], "c++", "g++", "clang++"]
    found = [path for path in map(shutil.which, names) if path and compiles(path)]
    return found[0] if found else "none"


def compiles(compiler: str, flags: Sequence[str] = ()) -> bool:
    """Return whether a compiler finds the C++ library and takes these flags."""
    command = [compiler, *flags, "-fsyntax-only", "-x", "c++", "-"]
    return run_quietly(command, "#include <vector>\nint main() {}\n").returncode == 0


def only_one_setup() -> object:
    """Wait until no other set-up works in this folder; what is returned holds the place as long as it lives."""
    try:
        import fcntl  # noqa: PLC0415 - not on Windows
    except ImportError:
        return None
    held = (ROOT / "pyproject.toml").open("rb")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        say("Another set-up is running here; waiting for it.")
        fcntl.flock(held, fcntl.LOCK_EX)
    return held


# ---- Setting up


def set_up(wanted: Sequence[str]) -> tuple[Setup, bool]:
    """Return the environment, installing what is missing, and whether anything was installed.

    Raises:
        SetupError: Something is missing that this cannot get by itself.
    """
    held = only_one_setup()
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_bytes()
    inputs = fingerprint(project, constraints, VERSION, sys.platform, platform.machine(), str(ROOT))
    made = read_setup(RECORD) if PYTHON.exists() and not half_written() else None
    compiler = made.no_engine_with if made and "model" in made.extras else find_compiler()
    extras = extras_to_install(made, inputs, wanted, compiler)
    if made is not None and not extras:
        return made, False
    say("Setting up; the first time takes minutes.")
    started = time.monotonic()
    make_environment()
    RECORD.unlink(missing_ok=True)
    try:
        setup = install(extras, inputs, constraints)
    except StepError as error:
        raise SetupError(f"{error} (the log: {LOG})") from error
    RECORD.write_text(json.dumps(asdict(setup)), encoding="utf-8")
    say(f"Set up in {time.monotonic() - started:.0f} s.")
    del held
    return setup, True


def make_environment() -> None:
    """Make .venv, or make it anew if it is half written, broken, or another Python's."""
    if PYTHON.exists() and not half_written():
        ask = [str(PYTHON), "-c", "import pip, sys; print(f'{sys.version_info[0]}.{sys.version_info[1]}')"]
        if run_quietly(ask).stdout.strip() == VERSION:
            return
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        raise SetupError(f"this Python has no venv module; on Debian and Ubuntu: apt-get install python{VERSION}-venv")
    say("  an empty .venv ...")
    base = str(getattr(sys, "_base_executable", None) or sys.executable)  # not .venv's own Python, which is about to go
    made = run_quietly([base, "-m", "venv", "--clear", str(VENV)])
    if made.returncode:
        raise SetupError(f"could not make {VENV}: {reason(made.stdout + made.stderr)}")


def install(extras: Sequence[str], inputs: str, constraints: str) -> Setup:
    """Install PyTorch, the engine if it can be had, and the program with the extras."""
    torch, engine = pinned("torch", constraints), pinned("llama_cpp_python", constraints)
    from_torch = ["--extra-index-url", TORCH_INDEX, torch]
    if not (sys.platform == "linux" and reachable(TORCH_INDEX) and installs(f"{torch}, CPU build", from_torch)):
        pip_install(torch, [torch])
    compiler = find_compiler() if "model" in extras else "none"
    no_engine_with = compiler if "model" in extras and not install_engine(engine, compiler) else ""
    had = tuple(extra for extra in extras if not (extra == "model" and no_engine_with))
    pip_install("the program and its packages", ["--editable", f".[{','.join(had)}]" if had else "."])
    return Setup(inputs, had, no_engine_with)


def install_engine(engine: str, compiler: str) -> bool:
    """Install llama-cpp-python, compiled here or else prebuilt, and return whether that went well."""
    if compiler == "none":
        say("  no C++ compiler that works: trying llama-cpp-python's prebuilt wheels")
    else:
        gnu_like = os.name != "nt" and compiles("c++" if sys.platform == "darwin" else compiler, WITHOUT_AMX)
        flags = WITHOUT_AMX if gnu_like else ()
        arguments = [*build_cache(flags), "--no-deps", engine]
        if installs(f"{engine}, compiled here in a few minutes", arguments, build_environment(flags)):
            return True
    if not reachable(ENGINE_INDEX):
        say("  the prebuilt wheels cannot be reached")
        return False
    prebuilt = ["--only-binary", "llama-cpp-python", "--extra-index-url", ENGINE_INDEX, "--no-deps", engine]
    return installs(f"{engine}, prebuilt", prebuilt)


def build_environment(flags: Sequence[str]) -> dict[str, str]:
    """Return the environment for building the engine: the compiler's flags, and no support for pictures."""
    added = {name: " ".join([os.environ.get(name, ""), *flags]).strip() for name in ("CFLAGS", "CXXFLAGS")}
    return child_environment(**added, CMAKE_ARGS=f"-DLLAVA_BUILD=OFF {os.environ.get('CMAKE_ARGS', '')}".strip())


def build_cache(flags: Sequence[str]) -> list[str]:
    """Return pip's option for a cache of our own: pip would hand us a wheel that was built with other flags."""
    asked = run_quietly([PYTHON, "-m", "pip", "cache", "dir"])
    if asked.returncode:  # caching is switched off
        return []
    return ["--cache-dir", str(Path(asked.stdout.strip(), "health-faq-chatbot-" + fingerprint(*flags)[:8]))]


def installs(label: str, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> bool:
    """Install something there is another way for, and return whether that went well."""
    try:
        pip_install(label, arguments, environment)
    except StepError as error:
        say(f"  {label}: {error}")
        return False
    return True


def pip_install(label: str, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Install into .venv, within the constraints.

    Raises:
        StepError: pip failed.
    """
    options = ["--progress-bar", "off", "--no-input", "--retries", "2", "--constraint", "constraints.txt"]
    UNFINISHED.touch()
    try:
        step(label, [PYTHON, "-m", "pip", "install", *options, *arguments], environment)
    except StepError:
        if not half_written():
            UNFINISHED.unlink()
        raise
    UNFINISHED.unlink()


def half_written() -> bool:
    """Return whether pip was stopped while it wrote packages; before that, what is there is whole."""
    return UNFINISHED.exists() and "Installing collected packages" in last_output()


# ---- The two commands


def serve(arguments: Sequence[str]) -> int:
    """Set up, build the index if anything was installed, and serve the page until it is stopped."""
    setup, installed = set_up(["model"])
    if "model" not in setup.extras:
        say(
            "Short replies are off; vetted answers work. For short replies install a C++ compiler (Debian, Ubuntu: "
            "apt-get install build-essential; macOS: xcode-select --install; Windows: Visual Studio Build Tools with "
            "C++) and run this again."
        )
    program = [str(PYTHON), "-m", "chatbot"]
    if installed:
        status = subprocess.call([*program, "index"], env=child_environment())
        if status:
            return status
    if os.name != "nt":  # take its place: signals reach the server itself
        os.execve(program[0], [*program, "serve", *arguments], child_environment())
    return subprocess.call([*program, "serve", *arguments], env=child_environment())


def test(arguments: Sequence[str]) -> int:
    """Set up what the tests need, run every check, then the tests; 0 only if all of it passed."""
    stages = [path for path in (ROOT / "finetune").glob("*.py") if path.name != "__init__.py"]
    setup, _ = set_up(["dev", "model", *(["finetune"] if stages else [])])
    if "model" not in setup.extras:
        say("There is no engine for the language model (see above): tests that need it cannot pass.")
    install_debian_tools()
    fetch_converter()
    import_rules = "import importlinter.cli; importlinter.cli.lint_imports_command()"
    checks = {
        "ruff check": ["-m", "ruff", "check", "."],
        "ruff format": ["-m", "ruff", "format", "--check", "."],
        "mypy --strict": ["-m", "mypy", "--strict"],
        "import rules": ["-c", import_rules, "--no-logo"],
        "healthfaq check": ["-m", "chatbot", "check"],
    }
    failed = [name for name, command in checks.items() if not passes(name, [PYTHON, *command])]
    status = subprocess.call([str(PYTHON), "-m", "pytest", *arguments], cwd=ROOT, env=child_environment())
    if failed:
        say(f"FAILED before the tests: {', '.join(failed)} (what they wrote stands above)")
    return status or int(bool(failed))


def fetch_converter() -> None:
    """Fetch the scripts that the test of a whole fine-tuning run needs, so that the run itself needs no network."""
    fetch = "from finetune.converter import converter_folder; converter_folder()"
    try:
        step("llama.cpp's conversion scripts", [PYTHON, "-c", fetch])
    except StepError as error:
        say(f"  {error}; the test of a whole fine-tuning run is skipped")


def passes(name: str, command: Sequence[str | Path]) -> bool:
    """Return whether a check passes; print what it wrote if not."""
    try:
        step(name, command)
    except StepError:
        say(last_output())
        return False
    return True


def install_debian_tools() -> None:
    """Install the programs the tests drive, on Debian and as root; elsewhere say what is missing."""
    missing = [package for package, commands in DEBIAN_TOOLS.items() if not any(map(shutil.which, commands))]
    if not missing:
        return
    if sys.platform == "linux" and shutil.which("apt-get") and os.geteuid() == 0:
        quiet = child_environment(DEBIAN_FRONTEND="noninteractive")
        try:
            step("apt-get update", ["apt-get", "update"], quiet)
            step(f"apt-get install {' '.join(missing)}", ["apt-get", "install", "-y", *missing], quiet)
            return
        except StepError as error:
            say(f"  {error}")
    say(f"Not here: {', '.join(missing)}. The tests that need them are skipped; install them to run those as well.")


def main(arguments: Sequence[str]) -> int:
    """Return the exit status: the program's own, or 2 with one line that says what is missing."""
    if arguments[:1] in (["-h"], ["--help"]):
        say(__doc__ or "")
        return 0
    bits = 64 if sys.maxsize > 2**32 else 32
    problem = python_problem(sys.version_info[:2], bits, sys.platform, platform.machine())
    if problem:
        print(f"run.py: {problem}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a step in progress is ended with us
    try:
        if arguments[:1] == ["test"]:
            return test(arguments[1:])
        return serve(arguments[1:] if arguments[:1] == ["--"] else arguments)
    except SetupError as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nrun.py: stopped; run it again to go on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
