"""Where the time goes with MedQuAD's 16,407 answers and 20 patients asking at once, as a flame graph.

python tests/benchmarks/run.py flame [--out flame.svg] [--patients 20] [--each 10]

Words are real, questions are really embedded; the entries' vectors are random directions, which is the same work to
search and saves an hour of embedding. py-spy (package py-spy) draws the graph; without it the times alone are printed.
"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from common import PROJECT, machine, memory_mib, percentile, say

from chatbot.bootstrap import open_service
from chatbot.embedder import MiniLM, Vectors
from chatbot.settings import Settings

KNOWLEDGE = Path(tempfile.gettempdir()) / "healthfaq-medquad"
STATE = Path(tempfile.gettempdir()) / "healthfaq-medquad-state"


class Filled(MiniLM):
    """Embeds questions for real and fills entries with random directions."""

    name = "filled:1"

    def encode_pieces(
        self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None
    ) -> tuple[Vectors, list[Vectors]]:
        """Return real vectors for few texts, random ones for many."""
        if len(texts) <= 200:
            return super().encode_pieces(texts, progress=progress)
        chance = np.random.default_rng(0)
        counts = [min(60, max(1, len(text.split()))) for text in texts]
        whole = _directions(chance, len(texts))
        return whole, np.split(_directions(chance, sum(counts)), np.cumsum(counts)[:-1])


def _directions(chance: np.random.Generator, n: int) -> Vectors:
    vectors = chance.standard_normal((n, 384), dtype=np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def main(arguments: list[str]) -> None:
    """Import MedQuAD if it is not there yet, ask, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--medquad", type=Path, default=PROJECT.parent / "shared" / "data" / "MedQuAD.zip")
    parser.add_argument("--out", type=Path, default=Path("flame.svg"))
    parser.add_argument("--patients", type=int, default=20)
    parser.add_argument("--each", type=int, default=10, help="questions of each patient")
    options = parser.parse_args(arguments)
    say(machine())
    if not (KNOWLEDGE / "clinic.yaml").is_file():
        command = [sys.executable, "-m", "chatbot", "import", "medquad", str(options.medquad), str(KNOWLEDGE)]
        subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
    service = open_service(
        Settings(knowledge=KNOWLEDGE, state=STATE, mode="verbatim"), with_model=False, embedder=Filled()
    )
    service.warm_up()
    answers = list(service.knowledge.answers.values())
    step = max(1, len(answers) // (options.patients * options.each))
    questions = [f"please tell me, {answer.questions[0].lower()}" for answer in answers[::step]]
    recorder = start_recording(options.out)
    times, decided = asked_at_once(service.pipeline.reply, questions, options.patients, options.each)
    if recorder is not None:
        recorder.send_signal(signal.SIGINT)
        recorder.wait(120)
        say(f"flame graph: {options.out}")
    say(
        f"{len(answers)} answers, {options.patients} patients at once, {len(times)} questions: median "
        f"{statistics.median(times) * 1000:.0f} ms, 95th {percentile(times, 0.95) * 1000:.0f} ms, "
        f"{len(times) / decided:.1f} a second, {service_cpu_ms(len(times)):.0f} ms of processor each; {memory_mib():.0f} MiB"
    )


_CPU_AT_START = [0.0]


def service_cpu_ms(n: int) -> float:
    """Return the processor milliseconds of each question since asking began."""
    return (time.process_time() - _CPU_AT_START[0]) * 1000 / n


def asked_at_once(
    reply: Callable[..., object], questions: Sequence[str], patients: int, each: int
) -> tuple[list[float], float]:
    """Return the seconds of every turn, and of all together."""
    times: list[float] = []

    def patient(number: int) -> None:
        for question in questions[number::patients][:each]:
            start = time.perf_counter()
            reply(question, mode="verbatim")
            times.append(time.perf_counter() - start)

    threads = [threading.Thread(target=patient, args=(number,)) for number in range(patients)]
    begin = time.perf_counter()
    _CPU_AT_START[0] = time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, time.perf_counter() - begin


def start_recording(out: Path) -> subprocess.Popen[bytes] | None:
    """Return py-spy recording this process, or None where it is not installed."""
    tool = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")
    if tool is None:
        return None
    command = [
        tool,
        "record",
        "--pid",
        str(os.getpid()),
        "--gil",
        "--rate",
        "50",
        "--output",
        str(out),
    ]
    recorder = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(3)
    return recorder
