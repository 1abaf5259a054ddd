"""Where there is no network at all, the installed program starts, answers, installs nothing, and calls nobody."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

PROJECT = Path(__file__).resolve().parents[2]
NAMESPACE = ["unshare", "--net", *([] if os.name == "nt" or os.geteuid() == 0 else ["--map-root-user"])]
STRACE = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg,execve"]
ADDRESS = re.compile(
    r'sin_port=htons\((\d+)\), sin_addr=inet_addr\("([^"]+)"\)|'
    r'sin6_port=htons\((\d+)\).*?inet_pton\(AF_INET6, "([^"]+)"'
)
LOOPBACK = re.compile(r"127\.|::1$|::ffff:127\.|0\.0\.0\.0$|::$")
NAME_SERVICE = re.compile(r'sun_path="[^"]*resolve')


def calls_out(trace: str) -> list[str]:
    """Return the traced calls that reach for another machine, or ask a name server anywhere."""
    found = []
    for line in trace.splitlines():
        for port4, host4, port6, host6 in ADDRESS.findall(line):
            if (port4 or port6) == "53" or not LOOPBACK.match(host4 or host6):
                found.append(line)
        if NAME_SERVICE.search(line):
            found.append(line)
    return found


def installed_files() -> dict[str, int]:
    """Return every file of the environment's packages with its time of change, caches of compiled code aside."""
    packages = Path(next(path for path in sys.path if path.endswith("site-packages")))
    return {str(f): f.stat().st_mtime_ns for f in packages.rglob("*") if f.is_file() and "__pycache__" not in f.parts}


@pytest.fixture(scope="module", autouse=True)
def namespace() -> None:
    for tool in ("unshare", "strace"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} on this machine; on Debian: apt-get install strace util-linux")
    tried = subprocess.run(
        [*NAMESPACE, "strace", "-o", os.devnull, "true"], capture_output=True, text=True, check=False
    )
    if tried.returncode:
        pytest.skip(f"network namespaces or tracing are not permitted here: {tried.stderr.strip()}")


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Return what a session without a network saw, and the folder with its traces."""
    folder = tmp_path_factory.mktemp("offline")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    settings = folder / "settings.yaml"
    settings.write_text(yaml.safe_dump({"knowledge": str(PROJECT / "knowledge"), "state": str(folder), "port": port}))
    serve = [sys.executable, "-m", "chatbot", "serve"]
    if Path(sys.prefix) == PROJECT / ".venv" and (PROJECT / ".venv/setup.json").exists():
        serve = [sys._base_executable, str(PROJECT / "run.py")]  # type: ignore[attr-defined]  # the whole way
    ask = [sys.executable, "-m", "chatbot", "ask", "--json", "--settings", str(settings)]
    before = installed_files()
    runner = [sys.executable, str(Path(__file__).with_name("offline_session.py")), str(folder), str(port)]
    ended = subprocess.run(
        [*NAMESPACE, *runner, *serve, "--settings", str(settings), "--", *ask],
        capture_output=True, text=True, cwd=PROJECT, check=False,
    )  # fmt: skip
    log = (folder / "serve.log").read_text(errors="replace")
    assert ended.returncode == 0, f"{ended.stderr}\n{log}"
    return {**json.loads(ended.stdout), "log": log, "folder": folder, "unchanged": installed_files() == before}


@pytest.fixture(scope="module")
def trace(session):
    return (session["folder"] / "serve.trace").read_text() + (session["folder"] / "ask.trace").read_text()


def test_the_watch_sees_a_connection_to_another_machine_and_a_name_lookup(tmp_path):
    reach = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('192.0.2.7', 9))"
    look_up = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'?', ('127.0.0.53', 53))"
    for code, expected in ((reach, "192.0.2.7"), (look_up, "127.0.0.53")):
        subprocess.run(
            [*STRACE, "-o", tmp_path / "trace", sys.executable, "-c", code], capture_output=True, check=False
        )
        assert [line for line in calls_out((tmp_path / "trace").read_text()) if expected in line]


def test_there_was_no_network(session):
    assert session["interfaces"] == ["lo"]


def test_the_page_answers_with_vetted_text_and_its_source(session):
    assert "<html" in session["page"]
    assert "process_completed" in session["reply"]
    assert "100.4" in session["reply"]
    assert "medlineplus.gov" in session["reply"]


def test_the_command_answers(session):
    assert session["ask"]["status"] == 0, session["ask"]["err"]
    reply = json.loads(session["ask"]["out"])
    assert reply["outcome"] == "answered"
    assert reply["citations"][0]["id"].startswith("fever/")


def test_nothing_is_installed(session, trace):
    assert session["unchanged"]
    assert "Setting up" not in session["log"]
    assert not re.search(r'execve\([^\n]*"(?:-m", "pip|[^"]*/pip3?)"', trace)


def test_no_connection_leaves_the_machine(trace):
    assert "connect(" in trace  # it does talk over loopback, and the watch sees that
    assert calls_out(trace) == []
