"""What embedding questions that arrive at the same moment in one pass saves, against one pass each.

python tests/benchmarks/run.py together [--rounds 4]
"""

import argparse
import threading
import time
from collections.abc import Sequence

from common import PROJECT, interleaved, machine, say, table

from chatbot.embedder import MiniLM
from chatbot.knowledge import load_knowledge

EACH = 3  # questions of a patient


def main(arguments: list[str]) -> None:
    """Print processor time a question for 1 and 20 patients, both ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args(arguments)
    say(machine())
    together, alone = MiniLM(), MiniLM()
    alone._together._most = 1
    questions = [
        question for answer in load_knowledge(PROJECT / "knowledge").answers.values() for question in answer.questions
    ]
    together.encode_pieces(questions[:1])
    for patients in (1, 20):
        ways = {
            "one pass each": lambda place, n=patients: cpu_ms(alone, questions[place * n * EACH :][: n * EACH], n),
            "together": lambda place, n=patients: cpu_ms(together, questions[place * n * EACH :][: n * EACH], n),
        }
        say(f"\n{patients} patient(s), milliseconds of processor time a question")
        say(table(interleaved(ways, options.rounds), "ms"))


def cpu_ms(embedder: MiniLM, questions: Sequence[str], patients: int) -> float:
    """Return the processor time of a question when so many patients ask at once."""

    def patient(number: int) -> None:
        for question in questions[number::patients]:
            embedder.encode_pieces([question])

    threads = [threading.Thread(target=patient, args=(number,)) for number in range(patients)]
    start = time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.process_time() - start) * 1000 / len(questions)
