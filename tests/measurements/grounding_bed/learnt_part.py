"""Would a learnt score rescue honest rewordings? Tries it on sentences that only soft checks refuse (development part).

    python tests/measurements/grounding_bed/learnt_part.py

Soft: order, lost words and foreign words, no objection to a number, negation, modality, audience or condition. A logistic
regression over cosine, share of words in common and the number of objections of each kind is fitted and judged by
leaving one answer out; printed is how many honest sentences it lets through for each corruption that it lets through too.
"""

import random
from collections import Counter
from pathlib import Path

import numpy as np
import on_path  # noqa: F401 - first
from corrupt import Row, corrupted, is_development
from measure import honest
from reword import reworded
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from chatbot.embedder import MiniLM
from chatbot.grounding.clauses import read
from chatbot.grounding.statements import Statement, keys_of, vetted
from chatbot.grounding.support import objections
from chatbot.knowledge import Answer, load_knowledge

HARD = ("number", "negation", "modality", "audience", "condition")
SOFT = ("order", "word", "meaning")


def closest(row: Row, answer: Answer) -> tuple[Statement, tuple[str, ...]]:
    """Return the statement with the fewest objections and what they are."""
    claim = read(row.text)
    found = [(one, objections(claim, one)) for one in vetted(answer.title, answer.text).statements]
    return min(found, key=lambda pair: len(pair[1]))


def main() -> None:
    knowledge = load_knowledge(Path(__file__).resolve().parents[3] / "knowledge")
    answers = {id_: answer for id_, answer in knowledge.answers.items() if is_development(id_)}
    good = [*honest(answers), *random.Random(1).sample(list(reworded(answers)), 400)]
    good = [row for row in good if row.kind.startswith("honest")]
    bad = random.Random(2).sample(list(corrupted(answers)), 3000)
    kept: list[tuple[Row, Statement, Counter[str], bool]] = []
    for row, is_good in [*((row, True) for row in good), *((row, False) for row in bad)]:
        statement, reasons = closest(row, answers[row.answer_id])
        kinds = Counter(reason.partition(":")[0] for reason in reasons)
        if reasons and not set(kinds) & set(HARD):
            kept.append((row, statement, kinds, is_good))
    vectors = MiniLM()
    claims, supports = vectors.encode([k[0].text for k in kept]), vectors.encode([k[1].text for k in kept])
    cosine = (claims * supports).sum(1)
    features = []
    for (row, statement, kinds, _), similar in zip(kept, cosine, strict=True):
        one, other = keys_of(row.text), keys_of(statement.text)
        features.append([similar, len(one & other) / max(1, len(one | other)), *(kinds[kind] for kind in SOFT)])
    labels = np.array([is_good for *_, is_good in kept])
    scores = cross_val_predict(
        LogisticRegression(class_weight="balanced", max_iter=1000), np.array(features), labels,
        groups=[k[0].answer_id for k in kept], cv=GroupKFold(5), method="predict_proba",
    )[:, 1]  # fmt: skip
    print(f"refused by soft checks alone: {labels.sum()} honest, {(~labels).sum()} corrupted of 3000")
    print(
        f"AUC of the cosine {roc_auc_score(labels, cosine):.3f}, of the learnt score {roc_auc_score(labels, scores):.3f}"
    )
    for share in (0.001, 0.003, 0.01):
        floor = np.sort(scores[~labels])[-max(1, round(share * 3000))]
        print(
            f"letting {share:.1%} of all corruptions through: {(scores[labels] > floor).mean():.2f} of those honest ones"
        )


if __name__ == "__main__":
    main()
