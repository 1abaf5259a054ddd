"""Measure the safety gate: recall and false alarms by group, and milliseconds a message.

python tests/measurements/safety.py --set held-back|held-back-2|development|harmless|answers [--no-meaning] [--list]
python tests/measurements/safety.py --speed
python tests/measurements/safety.py --vectors      (write knowledge/safety/examples.npz anew)
"""

import argparse
import statistics
import time
from collections.abc import Iterable
from pathlib import Path

import yaml

from chatbot.embedder import MiniLM
from chatbot.knowledge import Clinic, read_model
from chatbot.safety.gate import SafetyGate, right_outcome
from chatbot.safety.meaning import VECTORS_FILE, write_vectors
from chatbot.safety.rules import RuleBook, load_rules

ROOT = Path(__file__).resolve().parents[2] / "knowledge"
Examples = dict[str, dict[str, list[str]]]


def main() -> None:
    """Print what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--set", choices=["held-back", "held-back-2", "development", "harmless", "answers"], default="held-back"
    )
    parser.add_argument("--no-meaning", action="store_true", help="the rules alone")
    parser.add_argument("--list", action="store_true", help="every miss and false alarm")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--vectors", action="store_true")
    options = parser.parse_args()
    rules = open_rules()
    if options.vectors:
        print(write_vectors(ROOT / "safety" / VECTORS_FILE, rules, MiniLM()), "vectors written")
        return
    gate = SafetyGate(rules, None if options.no_meaning else MiniLM())
    if options.speed:
        speed(gate)
    elif options.set in ("harmless", "answers"):
        alarms(gate, harmless(rules) if options.set == "harmless" else answered(), options.list)
    else:
        rates(gate, rules, examples(rules, options.set), options.list)


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


def harmless(rules: RuleBook) -> list[str]:
    """Return the everyday questions that the operating point was set with."""
    assert rules.harmless is not None
    return list(rules.harmless.must_not_fire)


def answered() -> list[str]:
    """Return the questions that stand in the clinic's answer files; nothing was tuned on them."""
    found: list[str] = []
    for path in sorted((ROOT / "answers").rglob("*.md")):
        head = yaml.safe_load(path.read_text(encoding="utf-8").split("---")[1])
        found += [str(question) for question in head["questions"]]
    return found


def alarms(gate: SafetyGate, questions: Iterable[str], listed: bool) -> None:
    """Print how many of the questions set the gate off."""
    verdicts = [(question, gate.check(question)) for question in questions]
    fired = [(question, verdict) for question, verdict in verdicts if verdict is not None]
    print(f"false alarms {len(fired)} of {len(verdicts)} ({len(fired) / len(verdicts):.3f})")
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


def speed(gate: SafetyGate) -> None:
    """Print the median milliseconds a message, for everyday messages of several lengths and for hostile ones."""
    sentences = harmless(gate.rules)
    for length in (100, 500, 2000, 20_000, 100_000):
        times = []
        for number in range(25 if length <= 2000 else 5):
            text = ". ".join(sentences[(number * 37 + k) % len(sentences)] for k in range(length // 30 + 2))[:length]
            wall, cpu = time.perf_counter(), time.process_time()
            gate.check(f"{text} {number}")
            times.append((1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)))
        wall_ms, cpu_ms = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"{length} characters: {wall_ms:.1f} ms ({cpu_ms:.1f} ms CPU)")


if __name__ == "__main__":
    main()
