"""How the Spanish rules and answers do on sentences of ``spanish.yaml``: ``python tests/measurements/spanish.py``."""

import sys
from pathlib import Path

import yaml

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from chatbot.knowledge import load_knowledge  # noqa: E402
from chatbot.reply import Outcome  # noqa: E402
from chatbot.retrieval.language import language_of  # noqa: E402
from chatbot.retrieval.translated import WordRetriever  # noqa: E402
from chatbot.safety.gate import SafetyGate  # noqa: E402
from chatbot.safety.rules import load_rules  # noqa: E402


def main() -> None:
    """Print the shares, and every sentence that came out wrong."""
    rows = yaml.safe_load(Path(__file__).with_name("spanish.yaml").read_text(encoding="utf-8"))
    knowledge = load_knowledge(PROJECT / "knowledge")
    gate = SafetyGate(load_rules(knowledge.root, knowledge.clinic.in_language("es"), [], language="es"), None)
    urgent = (Outcome.EMERGENCY, Outcome.CRISIS)

    def fires(text: str) -> bool:
        verdict = gate.check(text)
        return verdict is not None and verdict.outcome in urgent

    missed = [text for text in rows["red_flags"] if not fires(text)]
    false = [text for text in rows["harmless"] if fires(text)]
    told("emergencies and crises found", len(rows["red_flags"]) - len(missed), rows["red_flags"], missed)
    told("false alarms", len(false), rows["harmless"], false)

    retriever = WordRetriever(knowledge.in_language("es").answers, "es")
    ours = [row for row in rows["questions"] if row["expect"] != "none"]
    others = [row for row in rows["questions"] if row["expect"] == "none"]
    found = {row["question"]: retriever.decide(row["question"]) for row in rows["questions"]}
    right = [row for row in ours if found[row["question"]].candidates[:1] == (row["expect"],)
             and found[row["question"]].kind == "answered"]  # fmt: skip
    offered = [row for row in ours if row not in right and row["expect"] in found[row["question"]].candidates]
    wrong = [row for row in rows["questions"] if found[row["question"]].kind == "answered" and row not in right]
    none = [row for row in ours if row not in right and row not in offered and row not in wrong]
    told("answered right at once", len(right), ours, [])
    told("right one among those offered", len(offered), ours, [])
    told("missed", len(none), ours, [row["question"] for row in none])
    told("answered wrongly", len(wrong), rows["questions"], [row["question"] for row in wrong])
    refused = [row for row in others if found[row["question"]].kind == "no_answer"]
    told("out of scope, told so", len(refused), others, [])
    texts = [*rows["red_flags"], *rows["harmless"], *(row["question"] for row in rows["questions"])]
    unsure = [text for text in texts if language_of(text) != "es"]
    told("taken for Spanish", len(texts) - len(unsure), texts, unsure)


def told(what: str, n: int, of: list, which: list[str]) -> None:
    """Print one line of the report, and the sentences behind it."""
    print(f"{what}: {n} of {len(of)} ({n / len(of):.2f})")
    for text in which:
        print(f"   {text}")


if __name__ == "__main__":
    main()
