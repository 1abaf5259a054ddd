"""Count what grounding shows and drops of drafted replies (see draft_replies.py), and why.

python tests/measurements/grounding_bed/check_drafts.py DRAFTS.jsonl [--strict-marks] [--shown]
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import on_path  # noqa: F401 - first

from chatbot.grounding.checker import MARK, check_sentence, split_stream
from chatbot.knowledge import load_knowledge
from chatbot.prompting import Passage

PROJECT = Path(__file__).resolve().parents[3]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("drafts", type=Path)
    parser.add_argument("--strict-marks", action="store_true", help="refuse sentences that name no passage")
    parser.add_argument("--shown", action="store_true", help="print what would be shown, to be read by hand")
    args = parser.parse_args()
    answers = load_knowledge(PROJECT / "knowledge").answers
    reasons: Counter[str] = Counter()
    replies = offered = marked = shown = helped = 0
    for line in args.drafts.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        passages = [Passage(id_, answers[id_].title, answers[id_].text) for id_ in row["passages"]]
        replies += 1
        before = shown
        for sentence in split_stream([row["draft"]]):
            offered += 1
            marked += bool(MARK.search(sentence))
            verdict = check_sentence(sentence, passages, find_citation=not args.strict_marks)
            shown += verdict.grounded
            if not verdict.grounded:
                reasons[verdict.reasons[0].partition(":")[0]] += 1
            if args.shown:
                print(
                    "SHOWN  " if verdict.grounded else "DROPPED",
                    row["passages"][0],
                    "|",
                    sentence,
                    verdict.reasons[:2] or "",
                )
        helped += shown > before
    print(
        f"{replies} replies, {offered} sentences offered ({marked} with a mark), {shown} shown, {offered - shown} dropped"
    )
    print(f"{helped} replies with at least one sentence shown; dropped by first reason: {dict(reasons.most_common())}")


if __name__ == "__main__":
    main()
