"""Time the first set-up, and a second start, of a fresh clone: ``python3 tests/measurements/setup_times.py FOLDER``.

FOLDER must not exist yet; it receives the clone and the settings. With ``--cold`` pip starts with an empty cache, so
that the model's engine is compiled. Each line gives seconds on the clock until the page is served, seconds of
processor time, and the machine's load, because a busy machine stretches the first and hardly the second.
"""

import argparse
import os
import resource
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PORT = 7990


def main() -> None:
    """Clone, start twice, and print the table's lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cold", action="store_true", help="an empty pip cache")
    chosen = parser.parse_args()
    clone = chosen.folder.resolve() / "clone"
    subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(clone)], check=True)
    settings = chosen.folder.resolve() / "settings.yaml"
    settings.write_text(f"knowledge: clone/knowledge\nstate: state\nport: {PORT}\n", encoding="utf-8")
    environment = {**os.environ, "XDG_DATA_HOME": str(chosen.folder.resolve() / "data")}
    if chosen.cold:
        environment["PIP_CACHE_DIR"] = str(chosen.folder.resolve() / "pip")
    print("| start | clock (s) | processor (s) | load |")
    for name in ("first", "second"):
        print("| {} | {:.1f} | {:.1f} | {:.1f} |".format(name, *start(clone, settings, environment)), flush=True)


def start(clone: Path, settings: Path, environment: dict[str, str]) -> tuple[float, float, float]:
    """Return seconds until the page answers, processor seconds of the whole start, and the load of the last minute."""
    before = processor_seconds()
    began = time.monotonic()
    with (settings.parent / "run.log").open("ab") as log:
        command = [sys.executable, str(clone / "run.py"), "--settings", str(settings)]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    while not served():
        if process.poll() is not None:
            sys.exit(f"run.py ended with status {process.returncode}; see {settings.parent / 'run.log'}")
        time.sleep(0.1)
    clock = time.monotonic() - began
    process.send_signal(signal.SIGTERM)
    process.wait()
    return clock, processor_seconds() - before, os.getloadavg()[0]


def served() -> bool:
    """Return whether the page answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/", timeout=10):
            return True
    except OSError:
        return False


def processor_seconds() -> float:
    """Return the processor time of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
