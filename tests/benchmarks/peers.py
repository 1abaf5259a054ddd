"""The product beside txtai, Haystack and LlamaIndex: same answers, questions, embedder and model file.

python tests/benchmarks/run.py peers --peers-python VENV/bin/python [--model embedded|FILE] [--questions 20] [--outside 10]

VENV holds ``peers.txt`` (install torch first). All programs run at once, each in a process of its own, and every
question goes to all of them one after another in a new order, so that slow spells of the machine hit all alike.
"""

import argparse
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import PROJECT, machine, memory_mib, percentile, say, write_json

from chatbot.embedder import weights_folder
from chatbot.engine.models import embedded_path
from chatbot.evaluation.questions import spread
from chatbot.evaluation.rates import Rate
from chatbot.evaluation.texts import has_support
from chatbot.knowledge import load_knowledge
from chatbot.retrieval.entries import entries_of
from chatbot.staff.acceptance import half_of
from chatbot.text import split_sentences

HERE = Path(__file__).parent
REFUSES = re.compile(
    r"\b(?:i (?:do not|don'?t|cannot|can'?t)|not (?:provided|mentioned|covered|specified|enough|contain|answer)|no information|"
    r"(?:does|do) not (?:provide|mention|contain|answer|cover|address)|unable to|none of the|not helpful|sorry)\b",
    re.IGNORECASE,
)


def main(arguments: list[str]) -> None:
    """Run the comparison and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers-python", required=True, help="Python of the peers' environment")
    parser.add_argument("--model", default="embedded", help="embedded, a GGUF file, or none: what is found alone")
    parser.add_argument("--questions", type=int, default=20)
    parser.add_argument("--outside", type=int, default=10)
    parser.add_argument("--only", default="", help="systems, as in 'txtai best,ours best'")
    parser.add_argument("--out", type=Path, help="every reply, as JSON")
    options = parser.parse_args(arguments)
    questions = chosen_questions(options.questions, options.outside)
    wanted = [(name, how) for name in ("ours", "txtai", "haystack", "llama-index") for how in ("documented", "best")]
    wanted = [one for one in wanted if not options.only or " ".join(one) in options.only.split(",")]
    say(machine())
    with tempfile.TemporaryDirectory() as folder:
        texts = written_answers(Path(folder))
        systems: list[System] = []
        try:
            for name, how in wanted:  # one after another, so that none is slowed by another's start
                system = System(name, how, options, texts, Path(folder))
                systems.append(system)
                system.wait_until_ready()
                say(f"{system.label}: ready in {system.ready_s:.1f} s")
            for place in ask_in_turn(systems, [text for text, _ in questions]):
                for system in systems:
                    system.memory_mib = memory_mib(system.process.pid)
                if options.out:  # a run that is cut short is not lost
                    write_json(options.out, [system.as_json() for system in systems])
                if place % 4 == 0:
                    print_table(systems, questions[:place])
        finally:
            for system in systems:
                system.end()
    print_table(systems, questions)


def chosen_questions(inside: int, outside: int) -> list[tuple[str, tuple[str, ...]]]:
    """Return acceptance questions of the half that nothing was tuned on, with what is right for each."""
    checks = [one for one in load_knowledge(PROJECT / "knowledge").checks if half_of(one.question) == "report"]
    with_answer = [one for one in checks if any("/" in expected for expected in one.accepted)]
    without = [one for one in checks if one.accepted == ("no_answer",)]
    chosen = [(one.question, one.accepted) for one in (*spread(with_answer, inside), *spread(without, outside))]
    random.Random(1).shuffle(chosen)
    return chosen


def written_answers(folder: Path) -> Path:
    """Write the answers as plain values for every program, and return the file."""
    answers = load_knowledge(PROJECT / "knowledge").answers.values()
    rows = [
        {
            "id": a.id,
            "title": a.title,
            "text": a.plain,
            "entries": [one.embedded for one in entries_of(a) if one.kind == "passage"],
        }
        for a in answers
    ]
    path = folder / "answers.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


class System:
    """One program with one set of settings, in its process."""

    def __init__(self, name: str, how: str, options: argparse.Namespace, texts: Path, folder: Path) -> None:
        self.name, self.how = name, how
        self.label = {"ours documented": "ours, verbatim", "ours best": "ours, guided"}.get(
            f"{name} {how}", f"{name}, {how}"
        )
        self.replies: list[dict[str, Any]] = []
        self.ready_s = self.memory_mib = 0.0
        own = name == "ours"
        model = options.model if own or options.model != "embedded" else str(embedded_path())
        state = folder / f"state-{how}"
        command = [
            sys.executable if own else options.peers_python, str(HERE / "peer_worker.py"), name, how, model,
            str(weights_folder()), str(texts),
        ]  # fmt: skip
        self._log = (folder / f"{name}-{how}.log").open("w+", encoding="utf-8")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
            env=os.environ | {"BENCHMARK_STATE": str(state)},
        )  # fmt: skip

    def wait_until_ready(self) -> None:
        """Read the start-up time; a program that did not start says why."""
        self.ready_s = float(self._read()["ready_s"])

    def ask(self, question: str) -> None:
        """Put one question to it and keep what it said."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"question": question}) + "\n")
        self.process.stdin.flush()
        self.replies.append(self._read())

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self._log.seek(0)
            raise SystemExit(f"{self.label} ended: {self._log.read()[-1500:]}")
        return dict(json.loads(line))

    def as_json(self) -> dict[str, Any]:
        """Return everything it said."""
        return {"system": self.label, "ready_s": self.ready_s, "mib": round(self.memory_mib), "replies": self.replies}

    def end(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


def ask_in_turn(systems: list[System], questions: list[str]) -> Iterator[int]:
    """Put every question to every program, one at a time, in a new order each time; yield how many are done."""
    chance, start = random.Random(0), time.perf_counter()
    for place, question in enumerate(questions, 1):
        for system in chance.sample(systems, len(systems)):
            system.ask(question)
        say(f"question {place} of {len(questions)}, {time.perf_counter() - start:.0f} s")
        yield place


def print_table(systems: list[System], questions: list[tuple[str, tuple[str, ...]]]) -> None:
    """Print one row for each program."""
    say(machine())
    say("| program, settings | right answer used first | … or among those used or offered | answered although nothing fits |"
        " generated sentences shown | … without support | first text, median / 95th s | end, median s | ready s | MiB |")  # fmt: skip
    say("|---|---|---|---|---|---|---|---|---|---|")
    for system in systems:
        failed = sum("error" in reply for reply in system.replies)
        rows = [(r, accepted) for r, (_, accepted) in zip(system.replies, questions, strict=True) if "error" not in r]
        inside = [(r, accepted) for r, accepted in rows if any("/" in one for one in accepted)]
        outside = [r for r, accepted in rows if accepted == ("no_answer",)]
        first = Rate.of(inside, lambda row: bool(row[0]["ids"]) and row[0]["ids"][0] in row[1])
        used = Rate.of(inside, lambda row: any(id_ in row[1] for id_ in row[0].get("offered", row[0]["ids"])))
        # Without a model a peer has no way to refuse, and nothing to show.
        given = Rate.of(outside, answers_anyway) if system.name == "ours" or any(r["text"] for r, _ in rows) else "–"
        sentences = [(s, r["passages"]) for r, _ in rows for s in split_sentences(r["text"]) if not REFUSES.search(s)]
        bare = Rate.of(sentences, lambda pair: not has_support(pair[0], " ".join(pair[1])))
        firsts = [r["first_s"] for r, _ in rows]
        say(
            f"| {system.label}{f' ({failed} failed)' if failed else ''} | {first} | {used} | {given} | {len(sentences)} | {bare} | "
            f"{statistics.median(firsts):.2f} / {percentile(firsts, 0.95):.2f} | "
            f"{statistics.median([r['total_s'] for r, _ in rows]):.2f} | {system.ready_s:.1f} | {system.memory_mib:.0f} |"
        )


def answers_anyway(reply: dict[str, Any]) -> bool:
    """Say whether a reply to a question that nothing fits gives an answer; any word of refusal counts as none."""
    if "outcome" in reply:
        return bool(reply["outcome"] == "answered")
    return bool(reply["text"]) and not REFUSES.search(reply["text"])
