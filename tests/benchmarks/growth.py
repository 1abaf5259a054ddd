"""How one question's time and the memory grow with the number of entries, and with the length of the history.

python tests/benchmarks/run.py growth [--sizes 100 1000 10000 16407] [--vectors 1000000]

Answers come from MedQuAD with their real words; their vectors are random directions (see ``flame.py``).
"""

import argparse
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
from common import PROJECT, machine, memory_mib, percentile, say
from flame import Filled

from chatbot.reply import Turn
from chatbot.retrieval.index import open_index
from chatbot.retrieval.retriever import Retriever
from chatbot.retrieval.search import nearest_index
from chatbot.retrieval.words import Synonyms


def main(arguments: list[str]) -> None:
    """Print a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--medquad", type=Path, default=PROJECT.parent / "shared" / "data" / "MedQuAD.zip")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000, 16_407])
    parser.add_argument("--vectors", type=int, default=1_000_000)
    options = parser.parse_args(arguments)
    import sys

    sys.path.insert(0, str(PROJECT / "tests" / "measurements"))
    from medquad import read_medquad

    say(machine())
    whole = read_medquad(options.medquad)
    say("| answers | entries | opened in s | question, median / 95th ms | with 20 earlier turns, median ms | MiB |")
    say("|---|---|---|---|---|---|")
    for size in options.sizes:
        answers = dict(islice(whole.items(), size))
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            retriever = Retriever(open_index(Path(folder), answers, Synonyms(), Filled()))
        opened = time.perf_counter() - start
        asked = [f"{answer.title} please" for answer in list(answers.values())[:: max(1, size // 60)]][:60]
        alone = [clocked(retriever, question, ()) for question in asked][5:]
        history = tuple(
            Turn("user" if n % 2 == 0 else "assistant", f"{asked[n % len(asked)]} and more of it") for n in range(40)
        )
        long = [clocked(retriever, f"{question} again", history) for question in asked[:25]][5:]
        say(
            f"| {len(answers)} | {len(retriever.index.entries)} | {opened:.1f} | {statistics.median(alone):.1f} / "
            f"{percentile(alone, 0.95):.1f} | {statistics.median(long):.1f} | {memory_mib():.0f} |"
        )
    vectors_alone(options.vectors)


def clocked(retriever: Retriever, question: str, history: tuple[Turn, ...]) -> float:
    """Return one decision's milliseconds, embedding included."""
    start = time.perf_counter()
    retriever.decide(question, history)
    return (time.perf_counter() - start) * 1000


def vectors_alone(n: int) -> None:
    """Print the nearest of so many vectors: random directions around 2,000 centres, kinder than real texts."""
    chance = np.random.default_rng(0)
    centres = chance.standard_normal((2000, 384), dtype=np.float32)
    vectors = centres[chance.integers(0, 2000, n)] + 0.7 * chance.standard_normal((n, 384), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    start, before = time.perf_counter(), memory_mib()
    index = nearest_index(vectors)
    built, times = time.perf_counter() - start, []
    for place in range(0, n, max(1, n // 100)):
        query = vectors[place : place + 1]
        begin = time.perf_counter()
        index.search(query, 200)
        times.append((time.perf_counter() - begin) * 1000)
    say(
        f"{n} vectors alone: built in {built:.0f} s, {memory_mib() - before:.0f} MiB; nearest 200, median "
        f"{statistics.median(times):.1f} ms, 95th {percentile(times, 0.95):.1f} ms"
    )
