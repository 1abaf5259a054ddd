"""How fast the engine writes, begins and stops. ``python tests/measurements/engine_speed.py PART``; figures in engine.md."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import httpx
from engine_common import BATCH, CONTEXT, PROJECT, STATE, never, prompts, ready, started, timed

from chatbot.engine.models import EMBEDDED, model_path
from chatbot.engine.writer import SEED
from chatbot.errors import GenerationError
from chatbot.knowledge import load_knowledge
from chatbot.prompting import MAX_REPLY_TOKENS, Message, Passage, build_messages


def alone(model: str) -> None:
    """Answer prompts from standard input with llama-cpp-python and nothing else; runs as a process of its own."""
    from llama_cpp import Llama

    threads = os.cpu_count()
    llama = Llama(
        model, n_ctx=CONTEXT, n_batch=BATCH, n_ubatch=BATCH, n_threads=threads, n_threads_batch=threads, verbose=False
    )
    for line in sys.stdin:
        chunks = llama.create_chat_completion(
            json.loads(line), temperature=0, seed=SEED, max_tokens=MAX_REPLY_TOKENS, repeat_penalty=1.0, stream=True
        )
        pieces = (chunk["choices"][0]["delta"].get("content") for chunk in chunks)
        print(json.dumps(timed(piece for piece in pieces if piece)), flush=True)


def speed(model: str, count: int, rounds: int, threads: int) -> None:
    """Print tokens a second of decoding, and seconds to the first token, for the three ways."""
    asked = prompts(count)
    path = str(model_path(model, STATE))

    def baseline(**environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, __file__, "alone", "--model", path]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
        )

    ways: dict[str, Callable[[list[Message]], tuple[float, float, int, str]]] = {}
    figures: dict[str, list[tuple[float, float]]] = {}
    with started(model, threads=threads) as engine:
        processes = {"alone": baseline(), "alone, threads not spinning": baseline(OMP_WAIT_POLICY="passive")}

        def through(process: subprocess.Popen[str]) -> Callable[[list[Message]], tuple[float, float, int, str]]:
            def ask(prompt: list[Message]) -> tuple[float, float, int, str]:
                assert process.stdin
                assert process.stdout
                print(json.dumps(prompt), file=process.stdin, flush=True)
                return tuple(json.loads(process.stdout.readline()))

            return ask

        ways = {"through the client": lambda prompt: timed(engine.draft(prompt, never))}
        ways |= {name: through(process) for name, process in processes.items()}
        for _ in range(rounds):
            for prompt in asked:
                for name, way in ways.items():
                    time.sleep(1.5)  # so that nobody is taken for busy who has just finished
                    first_s, rate, pieces, _ = way(prompt)
                    if pieces > 8:
                        figures.setdefault(name, []).append((first_s, rate))
        for process in processes.values():
            process.kill()
    print("| way | replies | tokens/s, median | first token s, median | load average |")
    for name, pairs in figures.items():
        firsts, rates = zip(*pairs, strict=True)
        print(
            f"| {name} | {len(pairs)} | {statistics.median(rates):.1f} | {statistics.median(firsts):.2f} "
            f"| {os.getloadavg()[0]:.1f} |"
        )
    ours = [rate for _, rate in figures["through the client"]]
    for name in processes:
        ratios = [mine / other for mine, (_, other) in zip(ours, figures[name], strict=False)]
        print(f"median of the ratios, through the client / {name}: {statistics.median(ratios):.2f}")


def prefix(model: str, count: int) -> None:
    """Print seconds to the first token of a second question on the same passages, with the cache and without."""
    answers = sorted(load_knowledge(PROJECT / "knowledge").answers.values(), key=lambda answer: answer.id)
    answers = [answer for answer in answers if len(answer.questions) > 1][:count]
    with started(model) as engine:
        rows: dict[str, list[float]] = {}
        for cached in (True, False) * 2:
            engine._request["cache_prompt"] = cached
            for answer in answers:
                passages = [Passage(answer.id, answer.title, answer.text)]
                first, second = (build_messages(question, passages) for question in answer.questions[:2])
                firsts = [timed(engine.draft(prompt, never))[0] for prompt in (first, second)]
                rows.setdefault(f"second question, cache {'on' if cached else 'off'}", []).append(firsts[1])
                rows.setdefault(f"first question, cache {'on' if cached else 'off'}", []).append(firsts[0])
        for name, values in rows.items():
            print(f"{name}: median {statistics.median(values):.3f} s of {len(values)}")
        on, off = (statistics.median(rows[f"second question, cache {word}"]) for word in ("on", "off"))
        print(f"sooner by {off / on:.1f} times")


def stop(model: str, count: int) -> None:
    """Print seconds from "stop" to a model that computes for nobody, at the prompt and in mid-reply."""
    with started(model) as engine:
        url = ready(engine)
        for where, wait_s in (("in the prompt", 0.15), ("in mid-reply", None)):
            took = []
            for prompt in prompts(count):
                flag = threading.Event()
                draft = engine.draft(prompt, flag.is_set)
                if wait_s is None:
                    next(draft)
                else:
                    threading.Timer(wait_s, flag.set).start()
                    engine._request["cache_prompt"] = False
                flag.set() if wait_s is None else None
                start = time.perf_counter()
                with suppress(GenerationError):
                    list(draft)
                start = start + (wait_s or 0)
                while httpx.get(f"{url}/health", timeout=5).json()["busy_s"]:
                    time.sleep(0.005)
                took.append(time.perf_counter() - start)
            engine._request.pop("cache_prompt", None)
            print(f"{where}: median {statistics.median(took):.2f} s, longest {max(took):.2f} s of {len(took)}")


def memory(model: str, count: int) -> None:
    """Print the process's memory every so many short replies to ever new questions."""
    passage = Passage("a", "Fever", "A fever is 38 °C or more. Rest and drink water.")
    with started(model) as engine:
        child = engine._servers._child  # type: ignore[attr-defined]
        for done in range(count + 1):
            if done % max(1, count // 8) == 0:
                print(f"after {done} replies: {child.memory_mib()} MiB", flush=True)
            draft = engine.draft(build_messages(f"Question {done}: what is a fever?", [passage]), never)
            next(draft)
            draft.close()


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["alone", "speed", "prefix", "stop", "memory"])
    parser.add_argument("--model", default=EMBEDDED)
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=0, help="exactly so many, however busy the machine")
    options = parser.parse_args()
    match options.part:
        case "alone":
            alone(options.model)
        case "speed":
            speed(options.model, options.count, options.rounds, options.threads)
        case "prefix":
            prefix(options.model, options.count)
        case "stop":
            stop(options.model, options.count)
        case "memory":
            memory(options.model, options.count)


if __name__ == "__main__":
    main()
