"""A waiting room in front of one small model: many tabs ask the real page at once.

    python tests/measurements/waiting_room.py --patients 20 --every 5 --minutes 3
    python tests/measurements/waiting_room.py --patients 200 --every 50 --minutes 3

Starts `healthfaq serve` in guided mode with the embedded model. Each patient is a session of its own that speaks
the page's own protocol (the one its browser code speaks), so web server, queue, safety, retrieval, model and grounding
are all in it; only the browser's painting is not. Every question ends with a marker of its own, which the page repeats
above the reply: a frame that holds anybody else's marker is a mixed reply.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from chatbot.knowledge import load_knowledge  # noqa: E402 - the project's root must be on the path first

MARKER = re.compile(r"q\d{3}x\d{3}z")
WAITS = re.compile(r"(\d+) (?:person is|people are) before you")


@dataclass
class Asked:
    """One question and what came of it. Times are seconds after it was sent."""

    marker: str
    sent_at: float
    vetted_s: float | None = None
    writing_s: float | None = None
    worded_s: float | None = None
    finished_s: float | None = None
    most_before: int = 0
    mixed: bool = False
    error: str = ""


@dataclass
class Patient:
    """One tab."""

    number: int
    asked: list[Asked] = field(default_factory=list)
    by_event: dict[str, Asked] = field(default_factory=dict)
    frames: dict[str, str] = field(default_factory=dict)
    reader: asyncio.Task[None] | None = None

    @property
    def session(self) -> str:
        return f"measured{self.number:04d}"


class Room:
    """All patients against one server."""

    def __init__(self, url: str, client: httpx.AsyncClient, questions: list[str], ask_fn: int) -> None:
        self.url = url
        self.client = client
        self.questions = questions
        self.ask_fn = ask_fn

    async def stay(self, patient: Patient, every_s: float, until: float) -> None:
        """Ask again and again, whether or not the reply before is finished; then wait for the last one."""
        await asyncio.sleep(random.Random(patient.number).uniform(0, every_s))
        number = 0
        while (now := time.monotonic()) < until:
            await self.ask(patient, number)
            number += 1
            await asyncio.sleep(max(0.0, now + every_s - time.monotonic()))
        if patient.reader is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(patient.reader), 60)
            patient.reader.cancel()

    async def ask(self, patient: Patient, number: int) -> None:
        marker = f"q{patient.number:03d}x{number:03d}z"
        question = self.questions[(patient.number * 7 + number * 13) % len(self.questions)]
        row = Asked(marker, time.monotonic())
        patient.asked.append(row)
        body = {"data": [f"{question} ({marker})"], "fn_index": self.ask_fn, "session_hash": patient.session}
        try:
            answer = await self.client.post(f"{self.url}/gradio_api/queue/join", json=body)
            event_id = answer.raise_for_status().json()["event_id"]
        except httpx.HTTPError as error:
            row.error = repr(error)
            return
        patient.by_event[event_id] = row
        if patient.reader is None or patient.reader.done():
            patient.reader = asyncio.create_task(self.read(patient))

    async def read(self, patient: Patient) -> None:
        params = {"session_hash": patient.session}
        try:
            async with self.client.stream("GET", f"{self.url}/gradio_api/queue/data", params=params) as stream:
                async for message in _messages(stream):
                    if message["msg"] == "close_stream":
                        return
                    row = patient.by_event.get(message.get("event_id", ""))
                    if row is not None:
                        note(row, message)
        except httpx.HTTPError as error:
            for row in patient.asked:
                if row.finished_s is None:
                    row.error = row.error or repr(error)


async def _messages(stream: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in stream.aiter_lines():
        if line.startswith("data:"):
            yield json.loads(line[5:])


def note(row: Asked, message: dict[str, Any]) -> None:
    """Write down what a message of the page's protocol shows to the patient."""
    now = time.monotonic() - row.sent_at
    kind = message["msg"]
    if kind == "process_completed":
        row.finished_s = row.finished_s or now
        if not message.get("success", True):
            row.error = json.dumps(message.get("output"))[:200]
    if kind not in ("process_generating", "process_completed"):
        return
    newest = _newest(message)
    row.mixed = row.mixed or bool(set(MARKER.findall(newest)) - {row.marker})
    if row.vetted_s is None and row.marker in newest:
        row.vetted_s = now
    text = json.dumps(message.get("output", {}))
    if row.writing_s is None and "Writing a short reply" in text:
        row.writing_s = now
    if row.worded_s is None and "worded" in text:
        row.worded_s = now
    for before in WAITS.findall(text):
        row.most_before = max(row.most_before, int(before))


def _newest(message: dict[str, Any]) -> str:
    """Return what the message puts in the place of the newest turn: the second output, whole or as a change of it."""
    outputs = message.get("output", {}).get("data") or []
    return json.dumps(outputs[1]) if len(outputs) > 1 else ""


async def measure(url: str, args: argparse.Namespace, pids: list[int]) -> tuple[list[Patient], list[list[int]]]:
    """Return the patients with what they saw, and the memory of both processes every five seconds, in MiB."""
    questions = [a.questions[0] for a in load_knowledge(PROJECT / "knowledge").answers.values()]
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(timeout=httpx.Timeout(120), limits=limits, trust_env=False) as client:
        config = (await client.get(f"{url}/config")).json()
        room = Room(url, client, questions, _ask_function(config))
        patients = [Patient(n) for n in range(args.patients)]
        until = time.monotonic() + 60 * args.minutes
        memory: list[list[int]] = []
        watch = asyncio.create_task(_watch_memory(pids, memory))
        await asyncio.gather(*(room.stay(patient, args.every, until) for patient in patients))
        watch.cancel()
        return patients, memory


async def _watch_memory(pids: list[int], memory: list[list[int]]) -> None:
    while True:
        memory.append([psutil.Process(pid).memory_full_info().pss // 2**20 for pid in pids if psutil.pid_exists(pid)])
        await asyncio.sleep(5)


def _ask_function(config: dict[str, Any]) -> int:
    """Return the number of the handler behind the button "Ask"."""
    button = next(c["id"] for c in config["components"] if c["props"].get("elem_id") == "send")
    return next(int(d["id"]) for d in config["dependencies"] if [button, "click"] in [list(t) for t in d["targets"]])


@contextlib.contextmanager
def served(threads: int) -> Iterator[tuple[str, list[int]]]:
    """Yield the page's address and the numbers of its process and of its model's."""
    with tempfile.TemporaryDirectory() as state, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        settings = Path(state) / "settings.yaml"
        settings.write_text(
            f"state: {state}\nport: {port}\nengine: {{threads: {threads}, start_timeout_s: 180}}\n", encoding="utf-8"
        )
        server = subprocess.Popen(
            [sys.executable, "-m", "chatbot", "serve", "--settings", str(settings)],
            cwd=PROJECT, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        url = f"http://127.0.0.1:{port}"
        try:
            yield url, [server.pid, _ready(url, server)]
        finally:
            server.terminate()
            server.wait(20)


def _ready(url: str, server: subprocess.Popen[bytes]) -> int:
    """Wait for the page and for the model behind it; return the number of the model's process."""
    for _ in range(1200):
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(url, timeout=5, trust_env=False)
            for child in psutil.Process(server.pid).children(recursive=True):
                listens = [c for c in child.net_connections("inet") if c.status == psutil.CONN_LISTEN]
                if "llama_worker" in " ".join(child.cmdline()) and listens:
                    time.sleep(5)  # its first prompt
                    return child.pid
        time.sleep(0.25)
    raise SystemExit("the page did not come up")


def report(patients: list[Patient], memory: list[list[int]]) -> None:
    """Print the figures as JSON."""
    rows = [row for patient in patients for row in patient.asked]
    vetted = sorted(row.vetted_s for row in rows if row.vetted_s is not None)
    waits = sorted(row.writing_s for row in rows if row.writing_s is not None)
    by_patient = [sum(row.worded_s is not None for row in patient.asked) for patient in patients]
    begun = [sum(row.writing_s is not None for row in patient.asked) for patient in patients]
    summary = {
        "patients": len(patients),
        "questions": len(rows),
        "errors": Counter(row.error for row in rows if row.error),
        "mixed": sum(row.mixed for row in rows),
        "without vetted text": len(rows) - len(vetted),
        "not finished": sum(row.finished_s is None for row in rows),
        "vetted text ms: median, 95 %, slowest": [
            round(1000 * value) for value in (statistics.median(vetted), _share(vetted, 0.95), vetted[-1])
        ],
        "told that others come first": sum(row.most_before > 0 for row in rows),
        "longest queue told": max(row.most_before for row in rows),
        "turns of the model": len(waits),
        "wait for it s: median, 95 %": [round(_share(waits, share), 1) for share in (0.5, 0.95)] if waits else [],
        "turns of the model by patient: fewest, most": [min(begun), max(begun)],
        "replies with a checked sentence": sum(by_patient),
        "of them by patient: fewest, most": [min(by_patient), max(by_patient)],
        "memory MiB page, model: first, a third, last": [memory[0], memory[len(memory) // 3], memory[-1]],
        "load average": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(summary, indent=1))


def _share(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=20)
    parser.add_argument("--every", type=float, default=5, help="seconds between one patient's questions")
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--threads", type=int, default=0, help="of the model; 0: as many as there are free cores")
    args = parser.parse_args()
    with served(args.threads) as (url, pids):
        patients, memory = asyncio.run(measure(url, args, pids))
    report(patients, memory)


if __name__ == "__main__":
    main()
