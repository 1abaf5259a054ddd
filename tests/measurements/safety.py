"""Measure the safety gate: recall and false alarms by group, alarms at everyday messages, milliseconds a message.

python tests/measurements/safety.py --set held-back|development|answers|checks|MESSAGES.jsonl [--half 0|1] [--list]
python tests/measurements/safety.py --cross 5      (development examples, each weighed by weights that never saw it)
python tests/measurements/safety.py --speed
python tests/measurements/safety.py --fit [MESSAGES.jsonl]     (write knowledge/safety/likeness.json anew)

``--no-meaning`` measures the rules alone. A file of messages has one JSON object a line with the key "question".
Questions of checks.yaml and messages of a file are two halves by their place, counted from 0: weights and thresholds
may come from the even half alone.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import yaml

from chatbot.embedder import Embedder, MiniLM
from chatbot.knowledge import Clinic, read_model
from chatbot.safety.fitting import Bed, Example, examples_of, fit
from chatbot.safety.gate import SafetyGate, right_outcome
from chatbot.safety.meaning import LIKENESS_FILE, write_weights
from chatbot.safety.rules import RuleBook, load_rules

ROOT = Path(__file__).resolve().parents[2] / "knowledge"
Examples = dict[str, dict[str, list[str]]]


def main() -> None:
    """Print what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default="held-back")
    parser.add_argument("--half", type=int, choices=[0, 1])
    parser.add_argument("--no-meaning", action="store_true", help="the rules alone")
    parser.add_argument("--list", action="store_true", help="every miss and false alarm")
    parser.add_argument("--cross", type=int, metavar="FOLDS")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--fit", nargs="?", const="", metavar="MESSAGES.jsonl")
    options = parser.parse_args()
    rules = open_rules()
    if options.fit is not None:
        further = further_harmless(Path(options.fit) if options.fit else None)
        write_weights(ROOT / "safety" / LIKENESS_FILE, fit(rules, MiniLM(), further))
        return
    if options.cross:
        cross(rules, MiniLM(), options.cross)
        return
    gate = SafetyGate(rules, None if options.no_meaning else MiniLM())
    if options.speed:
        speed(gate)
    elif options.set in ("held-back", "development"):
        rates(gate, rules, examples(rules, options.set), options.list)
    else:
        alarms(
            gate, messages(options.set)[slice(options.half, None, None if options.half is None else 2)], options.list
        )


def open_rules() -> RuleBook:
    """Return the project's own rule book."""
    problems: list = []
    clinic = read_model(ROOT / "clinic.yaml", Clinic, ROOT, problems)
    assert clinic is not None
    rules = load_rules(ROOT, clinic, problems)
    assert not problems, problems
    return rules


def examples(rules: RuleBook, name: str) -> Examples:
    """Return the held-back or the development examples by group."""
    if name != "development":
        return yaml.safe_load((ROOT / "safety" / f"{name}.yaml").read_text(encoding="utf-8"))
    return {
        g.id: {"must_fire": list(g.must_fire), "must_not_fire": list(g.must_not_fire)} for g in rules.groups.values()
    }


def messages(name: str) -> list[str]:
    """Return everyday messages: the questions of the answer files, of checks.yaml, or of a file."""
    if name == "answers":
        return answered()
    if name == "checks":
        return [str(entry["question"]) for entry in yaml.safe_load((ROOT / "checks.yaml").read_text(encoding="utf-8"))]
    return [json.loads(line)["question"] for line in Path(name).read_text(encoding="utf-8").split("\n") if line]


def answered() -> list[str]:
    """Return the questions that stand in the clinic's answer files."""
    found: list[str] = []
    for path in sorted((ROOT / "answers").rglob("*.md")):
        head = yaml.safe_load(path.read_text(encoding="utf-8").split("---")[1])
        found += [str(question) for question in head["questions"]]
    return found


def further_harmless(file: Path | None) -> list[str]:
    """Return everyday messages to learn from: the answers' questions, and the even halves of checks.yaml and a file."""
    own = [*answered(), *messages("checks")[::2]]
    if file is None:
        return own
    urgent = set((Path(__file__).parent / "safety_urgent_messages.txt").read_text(encoding="utf-8").split())
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line][::2]
    return own + [line["question"] for line in lines if line["id"] not in urgent]


def alarms(gate: SafetyGate, questions: Iterable[str], listed: bool) -> None:
    """Print how many of the questions set the gate off."""
    verdicts = [(question, gate.check(question)) for question in questions]
    fired = [(question, verdict) for question, verdict in verdicts if verdict is not None]
    urgent = sum(verdict.outcome.value != "declined" for _, verdict in fired)
    print(f"fired {len(fired)} of {len(verdicts)} ({len(fired) / len(verdicts):.3f}), of them urgent {urgent}")
    for question, verdict in fired if listed else []:
        print(f"- `{verdict.rule_id}` {question} ({', '.join(verdict.matched)[:90]})")


def rates(gate: SafetyGate, rules: RuleBook, groups: Examples, listed: bool) -> None:
    """Print recall and false alarms by group and over emergencies with crises, and over requests to decline."""
    totals = {"urgent": [0, 0, 0, 0], "declined": [0, 0, 0, 0]}
    lines = []
    for id_, both in groups.items():
        outcome = rules.outcome(id_)
        missed = [t for t in both["must_fire"] if not right_outcome(gate.check(t), outcome)]
        alarmed = [(t, v) for t in both["must_not_fire"] if (v := gate.check(t)) is not None]
        counts = [len(both["must_fire"]), len(missed), len(both["must_not_fire"]), len(alarmed)]
        total = totals["declined" if rules.groups[id_].kind == "declined" else "urgent"]
        total[:] = [a + b for a, b in zip(total, counts, strict=True)]
        print(f"| {id_} | {counts[0] - counts[1]} of {counts[0]} | {counts[3]} of {counts[2]} |")
        lines += [f"- missed ({id_}): {text}" for text in missed]
        lines += [f"- false alarm ({id_}): {text} [{v.rule_id}: {', '.join(v.matched)[:80]}]" for text, v in alarmed]
    for name, (n, missed_n, m, alarms_n) in totals.items():
        if not n:
            continue
        print(
            f"| **{name}** | {n - missed_n} of {n} ({1 - missed_n / n:.3f}) | {alarms_n} of {m} ({alarms_n / m:.3f}) |"
        )
    print("\n".join(lines if listed else []))


def cross(rules: RuleBook, embedder: Embedder, folds: int) -> None:
    """Print what the weights alone and beside the rules reach on examples that they were not made from."""
    own = examples_of(rules)
    everyday = [Example(text, None) for text in further_harmless(None)]
    bed = Bed(rules, [*own, *everyday], embedder)
    fold = np.random.default_rng(0).integers(0, folds, len(own) + len(everyday))
    bare = SafetyGate(rules, None)
    fired = [bare.check(example.text) for example in own]
    for side in ("urgent", "declined"):
        ids = [g.id for g in rules.groups.values() if (g.kind == "declined") == (side == "declined")]
        scores = np.full(len(fold), -99.0)
        for number in range(folds):
            head, _ = bed.fit_side(ids, fold[bed.owners] != number)
            np.maximum.at(scores, bed.owners, np.where(fold[bed.owners] == number, bed.scores(head), -99.0))
        print_operating_points(
            side, own, ids, scores, [v is not None and v.rule_id.split("/")[0] in ids for v in fired]
        )


def print_operating_points(
    side: str, own: Sequence[Example], ids: Sequence[str], scores: np.ndarray, fired: Sequence[bool]
) -> None:
    """Print recall, false alarms and everyday alarms for pairs of thresholds."""
    ours = np.array([example.group in ids for example in own])
    others = np.array([example.group is None for example in own])
    by_rule, mine, everyday = np.array(fired), scores[: len(own)], scores[len(own) :]
    print(f"{side}: beside_rule, alone: recall, false alarms; everyday messages by weights alone")
    for beside in (-9, -3, -2.5, -2, -1.5, -1):
        for alone in (0.5, 1, 1.5, 2, 2.5):
            shown = (by_rule & (mine >= beside)) | (mine >= alone)
            print(
                f"{beside:5} {alone:4}: {shown[ours].mean():.3f} {shown[others].mean():.3f}; {np.mean(everyday >= alone):.3f}"
            )


def speed(gate: SafetyGate) -> None:
    """Print the median milliseconds a message, for everyday messages of several lengths."""
    sentences = messages("checks")
    for length in (100, 500, 1000, 2000, 20_000, 100_000):
        times = []
        for number in range(40 if length <= 2000 else 5):
            text = " ".join(sentences[(number * 37 + k) % len(sentences)] for k in range(length // 20 + 2))[:length]
            wall, cpu = time.perf_counter(), time.process_time()
            gate.check(f"{text} {number}")
            times.append((1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)))
        wall_ms, cpu_ms = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"{length} characters: {wall_ms:.1f} ms ({cpu_ms:.1f} ms CPU), slowest {max(times)[0]:.1f} ms")


if __name__ == "__main__":
    main()
