"""Measures retrieval; every figure in ``retrieval.md`` comes from one of these commands.

python tests/measurements/retrieval.py acceptance     # the shipped knowledge, report half of its questions
python tests/measurements/retrieval.py messages       # MeQSum: long messages against all short questions
python tests/measurements/retrieval.py pairs          # RQE: same question or only the same topic
python tests/measurements/retrieval.py follow-ups     # two-turn conversations
python tests/measurements/retrieval.py scale          # MedQuAD: speed and memory
python tests/measurements/retrieval.py million        # a synthetic million entries
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import ir_measures
import numpy as np
import psutil
import yaml

PROJECT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(PROJECT), str(Path(__file__).parent)]

from medquad import read_medquad  # noqa: E402

from chatbot.embedder import Embedder, MiniLM, Vectors  # noqa: E402
from chatbot.knowledge import AcceptanceQuestion, Answer, Review, load_knowledge  # noqa: E402
from chatbot.reply import Turn  # noqa: E402
from chatbot.retrieval.decision import embed  # noqa: E402
from chatbot.retrieval.fusion import measure  # noqa: E402
from chatbot.retrieval.index import open_index  # noqa: E402
from chatbot.retrieval.retriever import Retriever  # noqa: E402
from chatbot.retrieval.search import Index  # noqa: E402
from chatbot.retrieval.words import Synonyms, read_synonyms, search_stems  # noqa: E402
from chatbot.staff.acceptance import NO_ANSWER, Outcome, figures_of, half_of, in_half, risk_coverage  # noqa: E402

EMBEDDER: Embedder = MiniLM()
SHARED = PROJECT.parent / "shared" / "data"
STATE = Path(tempfile.gettempdir()) / "healthfaq-measurements"


def shipped() -> tuple[Index, Sequence[AcceptanceQuestion]]:
    """Return the shipped knowledge's index and its acceptance questions about answers."""
    root = PROJECT / "knowledge"
    knowledge = load_knowledge(root)
    index = open_index(STATE / "shipped", knowledge.answers, read_synonyms(root / "synonyms.yaml", root, []), EMBEDDER)
    about = [q for q in knowledge.checks if all("/" in a or a == NO_ANSWER for a in q.accepted)]
    return index, about


def acceptance(half: str) -> None:
    """Print how the questions of one half end, and the risk-coverage curve."""
    index, questions = shipped()
    retriever = Retriever(index)
    outcomes = [Outcome(q, retriever.decide(q.question)) for q in in_half(questions, half)]  # type: ignore[arg-type]
    print(json.dumps(asdict(figures_of(outcomes)), indent=1))
    answered = [o for o in outcomes if o.decision.kind == "answered"]
    wrong = sum(o.is_wrong_answer for o in answered)
    print(f"answered {len(answered)} of {len(outcomes)}; wrong among all answered {wrong / max(1, len(answered)):.3f}")
    shown = [o for o in outcomes if o.decision.hits]
    answerable = [o.in_scope for o in shown]
    certainty = _area([o.decision.certainty for o in shown], answerable)
    cosine = _area([max(dict(h.parts)["meaning_asked_whole"] for h in o.decision.hits) for o in shown], answerable)
    print(
        f"told from questions without an answer, area under the curve: certainty {certainty:.3f}, cosine {cosine:.3f}"
    )
    curve = risk_coverage(outcomes)
    for coverage in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0):
        at = curve[min(len(curve), max(1, round(coverage * len(curve)))) - 1]
        print(f"coverage {at[0]:.2f} risk {at[1]:.3f}")
    ranks = [
        next((h.rank for h in o.decision.hits if h.answer_id in o.question.accepted), 99)
        for o in outcomes
        if o.in_scope
    ]
    print("first", np.mean(np.array(ranks) == 1).round(3), "in three", np.mean(np.array(ranks) <= 3).round(3))


def _as_answer(id_: str, title: str) -> Answer:
    return Answer.model_construct(
        id=id_, title=title, questions=(title,), text="", audience="everyone", sources=(), review=Review(), see_also=()
    )


def messages() -> None:
    """Print how often a long message finds its own short question first, and within five."""
    rows = [json.loads(line) for line in (SHARED / "meqsum_dev.jsonl").read_text(encoding="utf-8").splitlines()]
    answers = {f"q/{place}": _as_answer(f"q/{place}", row["short"]) for place, row in enumerate(rows)}
    index = open_index(None, answers, Synonyms(), EMBEDDER)
    retriever = Retriever(index)
    vectors = EMBEDDER.encode([row["short"] for row in rows])
    runs: dict[str, dict[str, dict[str, float]]] = {"product": {}, "embedder alone": {}, "BM25 alone": {}}
    truth: dict[str, dict[str, int]] = {}
    for place, row in enumerate(rows):
        id_ = f"q/{place}"
        if half_of(row["question"]) != "report":
            continue
        same = [other for other, answer in answers.items() if answer.title == row["short"]]
        truth[id_] = dict.fromkeys(same, 1)
        runs["product"][id_] = {hit.answer_id: -float(hit.rank) for hit in retriever.search(row["question"], 20)}
        runs["embedder alone"][id_] = _scores(EMBEDDER.encode([row["question"]])[0] @ vectors.T)
        numbers = [
            index.stem_numbers[s]
            for s in dict.fromkeys(search_stems(row["question"], Synonyms()))
            if s in index.stem_numbers
        ]
        runs["BM25 alone"][id_] = _scores(index.asked.share(numbers, 0)) if numbers else {}
    for name, run in runs.items():
        found = ir_measures.calc_aggregate(
            [ir_measures.Success @ 1, ir_measures.Success @ 5, ir_measures.RR @ 10], truth, run
        )
        print(name, len(truth), {str(measure_): round(value, 4) for measure_, value in found.items()})


def _scores(scores: Sequence[float]) -> dict[str, float]:
    return {f"q/{place}": float(score) for place, score in enumerate(scores)}


def pairs() -> None:
    """Print how well "the same question" is told from "the same topic": area under the ROC curve."""
    lines = (SHARED / "rqe_train.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if half_of(row["question"]) == "report"][::7]
    faqs = list(dict.fromkeys(row["faq"] for row in rows))
    answers = {f"q/{place}": _as_answer(f"q/{place}", faq) for place, faq in enumerate(faqs)}
    index = open_index(None, answers, Synonyms(), EMBEDDER)
    vectors = EMBEDDER.encode(faqs)
    cosines, fused, same = [], [], []
    retriever = Retriever(index)
    for row in rows:
        place = faqs.index(row["faq"])
        query = retriever.understood(row["question"])
        found = measure(index, query, embed(index, query), among=(place,))
        cosines.append(float(EMBEDDER.encode([row["question"]])[0] @ vectors[place]))
        fused.append(float(found.logits[0]))
        same.append(row["same"])
    print(
        len(rows),
        "pairs; area under the curve: product",
        round(_area(fused, same), 4),
        "cosine",
        round(_area(cosines, same), 4),
    )
    hard = [(c, f, s) for c, f, s, row in zip(cosines, fused, same, rows, strict=True) if row["question"] != row["faq"]]
    c, f, s = zip(*hard, strict=True)
    print(
        len(hard), "of them not word for word the same: product", round(_area(f, s), 4), "cosine", round(_area(c, s), 4)
    )


def _area(scores: Sequence[float], labels: Sequence[bool]) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(labels, scores))


def follow_ups(half: str) -> None:
    """Print how many second turns lead to the right answer."""
    index, _ = shipped()
    retriever = Retriever(index)
    rows = yaml.safe_load((Path(__file__).parent / f"follow_ups_{half}.yaml").read_text(encoding="utf-8"))
    first = offered = left = strays = 0
    for row in rows:
        decision = retriever.decide(row["now"], (Turn("user", row["before"]), Turn("assistant", "…")))
        accepted = [row["expect"]] if isinstance(row["expect"], str) else row["expect"]
        if accepted == [NO_ANSWER]:
            left += 1
            strays += decision.kind == "answered"
            continue
        first += bool(decision.hits) and decision.hits[0].answer_id in accepted
        is_offered = any(id_ in accepted for id_ in decision.candidates)
        offered += is_offered
        if not is_offered:
            print("missed:", row, decision.kind, [h.answer_id for h in decision.hits[:3]])
    n = len(rows) - left
    print(f"{n} follow-ups: right answer first {first / n:.3f}, answered or offered {offered / n:.3f}; "
          f"{left} that left the subject: answered {strays}")  # fmt: skip


def _speed(index: Index, queries: Sequence[str]) -> str:
    retriever = Retriever(index)
    for query in queries[:10]:
        retriever.search(query)
    times = []
    for query in queries[10:]:
        start = time.perf_counter()
        retriever.search(query)
        times.append((time.perf_counter() - start) * 1000)
    return (
        f"median {np.median(times):.1f} ms, 95th percentile {np.quantile(times, 0.95):.1f} ms over {len(times)} queries"
    )


class Filled:
    """Embeds questions for real and fills entries with random directions: the same work to search, none to build."""

    name = "filled:1"

    def encode(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> Vectors:
        """Return real vectors for few texts, random ones for many."""
        if len(texts) <= 100:
            return EMBEDDER.encode(texts)
        vectors = np.random.default_rng(0).standard_normal((len(texts), 384), dtype=np.float32)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def scale(limit: int, *, filled: bool) -> None:
    """Print speed and memory over MedQuAD."""
    embedder = Filled() if filled else EMBEDDER
    answers = dict(list(read_medquad(SHARED / "MedQuAD.zip").items())[: limit or None])
    queries = [answer.title for answer in list(answers.values())[:: max(1, len(answers) // 210)]][:210]
    EMBEDDER.encode(["warm"])
    start = time.perf_counter()
    index = open_index(STATE / f"medquad-{limit}-{embedder.name}", answers, Synonyms(), embedder)
    print(f"{len(answers)} answers, {len(index.entries)} entries: opened in {time.perf_counter() - start:.1f} s")
    start = time.perf_counter()
    index = open_index(STATE / f"medquad-{limit}-{embedder.name}", answers, Synonyms(), embedder)
    print(f"reopened in {time.perf_counter() - start:.1f} s; resident {psutil.Process().memory_info().rss >> 20} MiB")
    print("search, embedding included:", _speed(index, queries))


def million(n: int) -> None:
    """Print how vector search grows: random directions around real ones, no words."""
    from chatbot.retrieval.search import nearest_index

    chance = np.random.default_rng(0)
    centres = chance.standard_normal((2000, 384), dtype=np.float32)
    vectors = centres[chance.integers(0, 2000, n)] + 0.7 * chance.standard_normal((n, 384), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    before, start = psutil.Process().memory_info().rss, time.perf_counter()
    index = nearest_index(vectors)
    print(
        f"{n} vectors: built in {time.perf_counter() - start:.0f} s, "
        f"{(psutil.Process().memory_info().rss - before) >> 20} MiB"
    )
    times, hits = [], 0
    for place in range(0, n, n // 100):
        query = vectors[place : place + 1] + 0.02 * chance.standard_normal((1, 384), dtype=np.float32)
        start = time.perf_counter()
        _, found = index.search(query, 200)
        times.append((time.perf_counter() - start) * 1000)
        hits += place in found[0]
    print(
        f"search median {np.median(times):.1f} ms, 95th percentile {np.quantile(times, 0.95):.1f} ms; "
        f"own vector found {hits} %"
    )


def main(arguments: Mapping[str, object]) -> None:
    """Run one measurement."""
    match arguments["what"]:
        case "acceptance":
            acceptance(str(arguments["half"]))
        case "messages":
            messages()
        case "pairs":
            pairs()
        case "follow-ups":
            follow_ups(str(arguments["half"]))
        case "scale":
            scale(int(str(arguments["limit"])), filled=bool(arguments["filled"]))
        case "million":
            million(int(str(arguments["n"])))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["acceptance", "messages", "pairs", "follow-ups", "scale", "million"])
    parser.add_argument("--half", choices=["report", "development"], default="report")
    parser.add_argument("--limit", type=int, default=0, help="answers of MedQuAD; 0: all 16,407")
    parser.add_argument("--filled", action="store_true", help="random vectors for the entries: speed alone")
    parser.add_argument("-n", type=int, default=1_000_000)
    main(vars(parser.parse_args()))
