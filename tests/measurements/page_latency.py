"""How soon the vetted text stands on the page while the embedded model writes for somebody else.

Run: python tests/measurements/page_latency.py
Starts `healthfaq serve` in guided mode with the embedded model. One tab keeps the model busy all the time; another
asks 20 questions of the shipped answers. Clocked in the browser, from the key press to the painted card.
"""

import json
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from chatbot.knowledge import load_knowledge  # noqa: E402 - the project's root must be on the path first

N_QUESTIONS = 20
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
CLOCK = """(question) => new Promise((done) => {
  const box = document.querySelector('#question textarea');
  const set = Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, 'value').set;
  set.call(box, question); box.dispatchEvent(new Event('input', { bubbles: true }));
  setTimeout(() => {
    const start = performance.now();
    const times = {};
    const look = () => {
      const asked = document.querySelector('#newest .asked');
      const here = asked && asked.textContent.includes(question);
      if (here && !times.vetted && document.querySelector('#newest .card')) { times.vetted = performance.now() - start; }
      if (here && !times.worded && document.querySelector('#newest .worded')) { times.worded = performance.now() - start; }
      const finished = times.vetted && document.querySelector('#stop').disabled;
      if (finished || performance.now() - start > 60000) { times.end = performance.now() - start; done(times); }
      else { requestAnimationFrame(look); }
    };
    box.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true }));
    box.dispatchEvent(new KeyboardEvent('keypress', { key: 'Enter', bubbles: true }));
    look();
  }, 150);
})"""


def main() -> None:
    """Print the times as JSON."""
    questions = [answer.questions[0] for answer in load_knowledge(PROJECT / "knowledge").answers.values()]
    chosen = questions[:: len(questions) // N_QUESTIONS][:N_QUESTIONS]
    with tempfile.TemporaryDirectory() as state, served(state) as url:
        report(measure(url, questions, chosen))


@contextmanager
def served(state: str) -> Iterator[str]:
    """Run ``healthfaq serve`` with this state folder and return its address."""
    with tempfile.TemporaryDirectory() as folder:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        settings = Path(folder) / "settings.yaml"
        settings.write_text(f"state: {state}\nport: {port}\n", encoding="utf-8")
        command = [sys.executable, "-m", "chatbot", "serve", "--settings", str(settings)]
        server = subprocess.Popen(command, cwd=PROJECT)
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(url)
            yield url
        finally:
            server.terminate()
            server.wait(20)


def measure(url: str, questions: list[str], chosen: list[str]) -> list[dict[str, float]]:
    """Return the times of each question, in milliseconds."""
    over = threading.Event()
    busy = threading.Thread(target=keep_busy, args=(url, questions, over))
    busy.start()
    try:
        with sync_playwright() as playwright:
            page = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS).new_page()
            open_page(page, url)
            time.sleep(5)  # the other tab is under way
            return [page.evaluate(CLOCK, question) for question in chosen]
    finally:
        over.set()
        busy.join()


def keep_busy(url: str, questions: list[str], over: threading.Event) -> None:
    """Ask one question after another from a browser of its own until told to end."""
    with sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS).new_page()
        open_page(page, url)
        while not over.is_set():
            for question in questions:
                if over.is_set():
                    return
                page.evaluate(CLOCK, question)


def open_page(page: Page, url: str) -> None:
    """Open the page and wait for its question box."""
    page.goto(url)
    page.get_by_label("Your question").wait_for(timeout=60_000)


def wait_for(url: str) -> None:
    """Wait until the server answers."""
    for _ in range(600):
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"{url} did not come up")


def report(times: list[dict[str, float]]) -> None:
    """Print medians and the slowest."""
    vetted = sorted(row["vetted"] for row in times)
    worded = [row["worded"] for row in times if "worded" in row]
    summary = {
        "questions": len(times),
        "vetted_median_ms": round(statistics.median(vetted)),
        "vetted_slowest_ms": round(vetted[-1]),
        "first_checked_sentence_median_ms": round(statistics.median(worded)) if worded else None,
        "replies_with_a_checked_sentence": len(worded),
        "end_median_ms": round(statistics.median(row["end"] for row in times)),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
