"""What our layers cost: each beside the same library used bare, in one process, interleaved.

python tests/benchmarks/run.py parts [--rounds 30] [--no-model]
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import bm25s
import faiss
from common import STATE, interleaved, machine, say, table

from chatbot.bootstrap import Service, open_service
from chatbot.embedder import weights_folder
from chatbot.engine.models import embedded_path
from chatbot.prompting import MAX_REPLY_TOKENS, Passage, build_messages
from chatbot.settings import EngineSettings, Settings


def main(arguments: list[str]) -> None:
    """Print a table for each part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--no-model", action="store_true")
    options = parser.parse_args(arguments)
    say(machine())
    settings = Settings(state=STATE, engine=EngineSettings(threads=1, model="embedded"))
    service = open_service(settings, with_model=not options.no_model)
    try:
        service.warm_up()
        searching(service, options.rounds)
        embedding(service, max(4, options.rounds // 6))
        if not options.no_model:
            writing(service, max(4, options.rounds // 6))
    finally:
        service.close()


def timed(work: Callable[[], Any]) -> float:
    """Return milliseconds."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def searching(service: Service, rounds: int) -> None:
    """Print one question: the bare libraries, our search over both, and the whole turn with safety and decision."""
    from sentence_transformers import SentenceTransformer

    bare = SentenceTransformer(str(weights_folder()), device="cpu")
    index = service.retriever.index
    near = faiss.IndexFlatIP(index.vectors.shape[1])
    near.add(index.vectors)
    words = bm25s.BM25()
    words.index(bm25s.tokenize([entry.text for entry in index.entries], show_progress=False), show_progress=False)
    asked = [f"{question} please" for answer in service.knowledge.answers.values() for question in answer.questions]

    def faiss_alone(place: int) -> float:
        return timed(
            lambda: near.search(bare.encode([asked[3 * place]], normalize_embeddings=True, show_progress_bar=False), 10)
        )

    def bm25_alone(place: int) -> float:
        def work() -> None:
            words.retrieve(bm25s.tokenize(asked[3 * place], show_progress=False), k=10, show_progress=False)

        return timed(work)

    ways = {
        "SentenceTransformer.encode and faiss, bare": faiss_alone,
        "bm25s, bare": bm25_alone,
        "our search (both, fused)": lambda place: timed(lambda: service.retriever.search(asked[3 * place + 1])),
        "whole verbatim turn (safety, search, decision)": lambda place: timed(
            lambda: service.pipeline.reply(asked[3 * place + 2], mode="verbatim")
        ),
    }
    for way in ways.values():
        way(rounds)  # each once before it counts
    say(f"\nOne question over {len(index.entries)} entries of {len(index.ids)} answers")
    say(table(interleaved(ways, min(rounds, len(asked) // 3 - 1)), "ms"))


def embedding(service: Service, rounds: int) -> None:
    """Print 128 texts embedded at once."""
    from sentence_transformers import SentenceTransformer

    bare = SentenceTransformer(str(weights_folder()), device="cpu")
    texts = [entry.embedded for entry in service.retriever.index.entries][:128]
    ours: Any = service.parts.embedder
    ways = {
        "SentenceTransformer.encode, bare": lambda _: timed(
            lambda: bare.encode(texts, batch_size=64, show_progress_bar=False)
        ),
        "our encode": lambda _: timed(lambda: ours.encode(texts)),
        "our encode with word pieces": lambda _: timed(lambda: ours.encode_pieces(texts)),
    }
    say("\n128 texts embedded at once")
    say(table(interleaved(ways, rounds), "ms"))


def writing(service: Service, rounds: int) -> None:
    """Print one reply of the embedded model: llama-cpp-python in this process, and through our worker process."""
    from llama_cpp import Llama

    bare = Llama(str(embedded_path()), n_ctx=2048, n_threads=1, n_threads_batch=1, n_batch=128, verbose=False)
    answers = list(service.knowledge.answers.values())
    writer = service.pipeline.writer
    assert writer is not None
    firsts: dict[str, list[float]] = {"llama-cpp-python, bare": [], "through our worker": []}

    def messages(place: int) -> list[dict[str, str]]:
        answer = answers[place]
        return build_messages(answer.questions[0], [Passage(answer.id, answer.title, answer.text)])

    def counted(name: str, pieces: Any, start: float) -> float:
        n, first = 0, 0.0
        for piece in pieces:
            if isinstance(piece, str) and piece:
                n, first = n + 1, first or time.perf_counter() - start
        firsts[name].append(first * 1000)
        return (time.perf_counter() - start - first) * 1000 / max(1, n - 1)

    def alone(place: int) -> float:
        start = time.perf_counter()
        chunks = bare.create_chat_completion(messages(place), temperature=0, max_tokens=MAX_REPLY_TOKENS, stream=True)  # type: ignore[arg-type]
        return counted(
            "llama-cpp-python, bare", (one["choices"][0]["delta"].get("content", "") for one in chunks), start
        )  # type: ignore[index,union-attr]

    def through(place: int) -> float:
        return counted("through our worker", writer.draft(messages(place), lambda: False), time.perf_counter())

    figures = interleaved({"llama-cpp-python, bare": alone, "through our worker": through}, rounds)
    say(
        "\nOne reply of the embedded model, 1 thread; ours with its adapter, so the texts differ: milliseconds a token after the first"
    )
    say(table(figures, "ms a token"))
    say("\nthe same, milliseconds to the first token")
    say(table(firsts, "ms"))
