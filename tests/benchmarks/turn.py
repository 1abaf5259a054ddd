"""A whole turn of the product: time to vetted text, to the first checked sentence, to the end; memory of all processes.

python tests/benchmarks/run.py turn [--patients 1 4 20] [--each 2] [--model FILE]

Every patient asks at the same moment, again and again, questions that stand in the answers.
"""

import argparse
import statistics
import threading
import time
from dataclasses import dataclass

from common import PROJECT, STATE, machine, memory_mib, percentile, say

from chatbot.bootstrap import Service, open_service
from chatbot.evaluation.questions import spread
from chatbot.knowledge import load_knowledge
from chatbot.pipeline import Finished, Shown
from chatbot.settings import EngineSettings, Settings


@dataclass
class Turn:
    """Seconds since the question; 0 where that never came."""

    vetted_s: float = 0.0
    checked_s: float = 0.0
    end_s: float = 0.0


def main(arguments: list[str]) -> None:
    """Print a row for each number of patients."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, nargs="+", default=[1, 4, 20])
    parser.add_argument("--each", type=int, default=2, help="questions of each patient")
    parser.add_argument("--model", default="")
    options = parser.parse_args(arguments)
    say(machine())
    answers = list(load_knowledge(PROJECT / "knowledge").answers.values())
    engine = EngineSettings(model=options.model, reply_timeout_s=120)
    service = open_service(Settings(state=STATE, engine=engine), with_model=True)
    try:
        service.warm_up()
        service.pipeline.reply(answers[0].questions[0])
        say(f"memory of all processes when ready: {memory_mib():.0f} MiB")
        say(
            "| patients at once | turns | vetted text, median / 95th s | first checked sentence | end | with a checked sentence | MiB |"
        )
        say("|---|---|---|---|---|---|---|")
        for patients in options.patients:
            questions = [answer.questions[0] for answer in spread(answers, patients * options.each)]
            turns = all_at_once(service, questions, patients)
            checked = [turn.checked_s for turn in turns if turn.checked_s]
            say(
                f"| {patients} | {len(turns)} | {_pair([turn.vetted_s for turn in turns])} | {_pair(checked)} | "
                f"{_pair([turn.end_s for turn in turns])} | {len(checked)} of {len(turns)} | {memory_mib():.0f} |"
            )
    finally:
        service.close()


def all_at_once(service: Service, questions: list[str], patients: int) -> list[Turn]:
    """Return the turns of so many patients who ask at the same time."""
    turns: list[Turn] = []

    def patient(number: int) -> None:
        for question in questions[number::patients]:
            turns.append(one(service, question))

    threads = [threading.Thread(target=patient, args=(number,)) for number in range(patients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return turns


def one(service: Service, question: str) -> Turn:
    """Return one turn's times."""
    turn, start = Turn(), time.perf_counter()
    for event in service.pipeline.ask(question, mode="guided"):
        now = time.perf_counter() - start
        if isinstance(event, Shown):
            turn.vetted_s = turn.vetted_s or now
            if event.reply.model and not turn.checked_s:
                turn.checked_s = now
        if isinstance(event, Finished):
            turn.end_s = now
    return turn


def _pair(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} / {percentile(values, 0.95):.2f}" if values else "–"
