"""Measures the engine. ``python tests/measurements/engine.py PART [--model NAME|FILE]``; see engine.md for the figures.

Parts: speed, prefix, faults, stop, stock, memory, servers, failover.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

PROJECT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests"), str(PROJECT / "tests" / "unit")]

from chatbot.engine.models import EMBEDDED, model_path  # noqa: E402
from chatbot.engine.writer import SEED, Engine, start_writer  # noqa: E402
from chatbot.errors import GenerationError  # noqa: E402
from chatbot.knowledge import load_knowledge  # noqa: E402
from chatbot.prompting import MAX_REPLY_TOKENS, Message, Passage, build_messages  # noqa: E402
from chatbot.settings import EngineSettings  # noqa: E402

STATE = Path(tempfile.gettempdir()) / "healthfaq-measurements"
CONTEXT, BATCH = 2048, 128


def never() -> bool:
    return False


def prompts(count: int) -> list[list[Message]]:
    """Return prompts as the pipeline builds them: two shipped answers and one of the first one's own questions."""
    answers = sorted(load_knowledge(PROJECT / "knowledge").answers.values(), key=lambda answer: answer.id)
    chosen = answers[:: max(1, len(answers) // count)][:count]
    return [
        build_messages(one.questions[0], [Passage(a.id, a.title, a.text) for a in (one, other)])
        for one, other in zip(chosen, chosen[1:] + chosen[:1], strict=True)
    ]


@contextmanager
def started(model: str, **changes: Any) -> Iterator[Engine]:
    options = {"start_timeout_s": 180, "reply_timeout_s": 180, "context_tokens": CONTEXT, "batch_tokens": BATCH}
    writer = start_writer(EngineSettings(model=model, **{**options, **changes}), STATE)
    if not isinstance(writer, Engine):
        raise SystemExit(writer.unavailable)
    try:
        ready(writer)
        yield writer
    finally:
        writer.close()


def ready(engine: Engine) -> str:
    """Wait for the model's process; return where it listens and note nothing else."""
    endpoint = engine._servers.acquire(180, never)
    engine._servers.release(endpoint)
    return endpoint.url


def timed(pieces: Iterator[object]) -> tuple[float, float, int, str]:
    """Return seconds to the first piece, tokens a second after it, pieces, and how it ended."""
    start = time.perf_counter()
    times: list[float] = []
    end = "whole"
    try:
        for piece in pieces:
            if isinstance(piece, str):
                times.append(time.perf_counter())
    except GenerationError as error:
        end = str(error)
    if len(times) < 2:
        return (times[0] - start if times else float("nan")), float("nan"), len(times), end
    return times[0] - start, (len(times) - 1) / (times[-1] - times[0]), len(times), end


# --- speed: through the client, and llama-cpp-python alone, on the same prompts, in turns


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


# --- prefix: the second question of a conversation, with and without what was evaluated before


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


# --- stop: how long until the model is free


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


# --- faults: the engine killed, frozen, out of memory, slow, talking garbage, refusing, at five points of a reply

POINTS = ("before the prompt", "in the prompt", "at the first word", "after 20 words", "at the end")


def faults(model: str, deadline_s: float, only: str) -> None:
    """Print for each fault and point how the draft ended, after how long, and when the next one was guided again."""
    print("| fault | point | pieces before | ended after s | with | next reply guided after s |")
    (prompt, other) = _short_prompts()
    for name, act in (("killed", _kill), ("frozen", _freeze), ("out of memory", _starve)):
        for point in POINTS if only in ("", name) else ():
            with started(model, reply_timeout_s=deadline_s) as engine:
                ready(engine)
                whole = timed(engine.draft(other, never))[2]
                _one_fault(name, point, engine, prompt, act, whole)
    for name in ("slow", "garbage", "refusing"):
        for point in POINTS if only in ("", name) else ():
            _scripted_fault(name, point, prompt, deadline_s)


def _short_prompts() -> tuple[list[Message], list[Message]]:
    answers = sorted(load_knowledge(PROJECT / "knowledge").answers.values(), key=lambda answer: len(answer.text))
    first, second = (build_messages(a.questions[0], [Passage(a.id, a.title, a.text)]) for a in answers[:2])
    return first, second


def _kill(engine: Engine) -> None:
    os.kill(_pid(engine), signal.SIGKILL)


def _freeze(engine: Engine) -> None:
    os.kill(_pid(engine), signal.SIGSTOP)


def _starve(engine: Engine) -> None:
    # No byte more than it holds now: whatever it asks for next fails.
    process = psutil.Process(_pid(engine))
    held = process.memory_info().vms
    process.rlimit(psutil.RLIMIT_AS, (held, held))


def _pid(engine: Engine) -> int:
    pid = engine._servers.pid  # type: ignore[attr-defined]
    assert pid is not None
    return int(pid)


def _one_fault(
    name: str, point: str, engine: Engine, prompt: list[Message], act: Callable[[Engine], None], whole: int
) -> None:
    wanted = {"at the first word": 1, "after 20 words": 20, "at the end": max(21, whole - 2)}.get(point, 0)
    pieces = 0
    ended = "whole"
    if point == "before the prompt":
        act(engine)
    elif point == "in the prompt":
        threading.Timer(0.1, act, (engine,)).start()
    start = time.perf_counter()
    try:
        for _ in engine.draft(prompt, never):
            pieces += 1
            if wanted and pieces == wanted:
                act(engine)
                start = time.perf_counter()
    except GenerationError as error:
        ended = str(error)
    took = time.perf_counter() - start
    print(f"| {name} | {point} | {pieces} | {took:.1f} | {ended} | {_guided_again(engine, prompt)} |", flush=True)


def _guided_again(engine: Engine, prompt: list[Message]) -> str:
    """Return the seconds until the next reply's first word, or why there is none."""
    start = time.perf_counter()
    draft = engine.draft(prompt, never)
    try:
        next(draft)
    except GenerationError as error:
        return f"not: {error}"
    finally:
        draft.close()
    return f"{time.perf_counter() - start:.1f}"


def _scripted_fault(name: str, point: str, prompt: list[Message], deadline_s: float) -> None:
    from engine_stand_in import Connection, StandIn, says

    at = {"before the prompt": 0, "in the prompt": 0, "at the first word": 1, "after 20 words": 20, "at the end": 39}[
        point
    ]

    def script(connection: Connection) -> None:
        if name == "refusing" and at == 0:
            connection.status(503)
            return
        connection.status(200)
        for _ in range(at):
            connection.say("word ")
        if name == "slow":
            for _ in range(40):
                time.sleep(1)
                connection.say("word ")
        elif name == "garbage":
            connection.raw(b"data: \xff\xfe{{{ \n\n" * 50)

    with StandIn(script) as server:
        writer = start_writer(EngineSettings(urls=(server.url,), reply_timeout_s=deadline_s), STATE)
        pieces, ended = 0, "whole"
        start = time.perf_counter()
        try:
            for _ in writer.draft(prompt, never):
                pieces += 1
        except GenerationError as error:
            ended = str(error)
        took = time.perf_counter() - start
        server.script = says(*["word "] * 40)
        assert isinstance(writer, Engine)
        guided = _guided_again(writer, prompt)
        writer.close()
    print(f"| {name} | {point} | {pieces} | {took:.1f} | {ended} | {guided} |", flush=True)


# --- stock: llama-cpp-python's own server, for comparison


def stock(model: str) -> None:
    """Print what llama-cpp-python's own server does with a client that hangs up, a count, and too long a prompt."""
    options = {
        "model": model_path(model, STATE),
        "host": "127.0.0.1",
        "interrupt_requests": "false",
        "n_ctx": CONTEXT,
        "n_batch": BATCH,
        "logits_all": "false",
        "n_threads": os.cpu_count(),
        "verbose": "false",
    }
    command = [sys.executable, "-m", "llama_cpp.server"]
    for name, chosen in options.items():
        command += [f"--{name}", str(chosen)]
    with _served([*command, "--port"]) as url:
        print("llama-cpp-python's own server:")
        _compare(url)
    with started(model) as engine:
        endpoint = engine._servers.acquire(60, never)  # kept, or the supervisor would see it compute for nobody
        print("our worker:")
        _compare(endpoint.url, endpoint.key)


def _compare(url: str, key: str = "none") -> None:
    client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=180, trust_env=False)
    long = " ".join(f"word{n} fever{7 * n}" for n in range(90))

    def first_token_s(text: str, timeout_s: float = 180, tokens: int = 5) -> float | str:
        body = {"messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": tokens, "stream": True}
        start = time.perf_counter()
        try:
            with client.stream("POST", "/v1/chat/completions", json=body, timeout=timeout_s) as answer:
                if answer.status_code != httpx.codes.OK:
                    return f"status {answer.status_code}"
                for line in answer.iter_lines():
                    if '"content"' in line:
                        return round(time.perf_counter() - start, 2)
        except httpx.HTTPError as error:
            return type(error).__name__
        return "nothing"

    print("  evaluating a long prompt, alone:", first_token_s(f"{time.time()} {long}"))
    print("  client hangs up on it after 0.3 s:", first_token_s(f"{time.time()} {long}", timeout_s=0.3))
    print("  first token of a short prompt right after that:", first_token_s("hello"))
    thread = threading.Thread(target=lambda: first_token_s(f"{time.time()} {long}"))
    thread.start()
    time.sleep(0.2)
    start = time.perf_counter()
    client.post("/extras/tokenize/count", json={"input": "hello there"})
    print(f"  counting tokens during a reply: {time.perf_counter() - start:.2f}")
    thread.join()
    print("  a prompt that does not fit the context:", first_token_s("word " * 4000))


# --- memory: does the model's process grow with the replies it wrote


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


# --- servers: eight patients, the default against llama.cpp's own server with four slots


def servers(model: str, patients: int, urls: list[str], threads: int) -> None:
    """Print what so many patients at once get from the default and from a server at ``url`` with four slots."""
    asked = prompts(patients)
    with started(model, queue_length=100, threads=threads) as engine:
        _crowd("default, one slot", engine, asked)
    if urls:
        settings = EngineSettings(urls=tuple(urls), slots=4, queue_length=100, reply_timeout_s=180)
        writer = start_writer(settings, STATE)
        assert isinstance(writer, Engine)
        _crowd("llama.cpp's own server, four slots", writer, asked)
        writer.close()


def _crowd(name: str, engine: Engine, asked: list[list[Message]]) -> None:
    results: list[tuple[float, float, int, str]] = []
    start = time.perf_counter()
    threads = [
        threading.Thread(target=lambda prompt=prompt: results.append(timed(engine.draft(prompt, never))))
        for prompt in asked
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - start
    pieces = sum(result[2] for result in results)
    firsts = sorted(result[0] for result in results)
    print(
        f"{name}: {len(asked)} patients, all served in {took:.1f} s, {pieces / took:.1f} tokens/s in all, "
        f"first token median {statistics.median(firsts):.1f} s, last {firsts[-1]:.1f} s, load {os.getloadavg()[0]:.1f}"
    )


def failover(patients: int, urls: list[str], victim: int) -> None:
    """Print how replies end when one of two servers is killed while it writes."""
    asked = prompts(patients)
    settings = EngineSettings(urls=tuple(urls), slots=4, queue_length=100, queue_per_patient=0, reply_timeout_s=120)
    writer = start_writer(settings, STATE)
    assert isinstance(writer, Engine)
    ends: list[str] = []
    threads = [
        threading.Thread(target=lambda prompt=prompt: ends.append(timed(writer.draft(prompt, never))[3]))
        for prompt in asked
    ]
    for thread in threads:
        thread.start()
    time.sleep(8)
    os.kill(victim, signal.SIGKILL)
    for thread in threads:
        thread.join()
    for end in sorted(set(ends)):
        print(f"{ends.count(end)} of {len(ends)}: {end}")
    writer.close()


@contextmanager
def _served(command: list[str]) -> Iterator[str]:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([*command, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                httpx.get(f"{url}/v1/models", timeout=5)
                break
            except httpx.HTTPError:
                time.sleep(0.2)
        yield url
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "part", choices=["speed", "prefix", "faults", "stop", "stock", "memory", "servers", "failover", "alone"]
    )
    parser.add_argument("--model", default=EMBEDDED)
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--deadline", type=float, default=30)
    parser.add_argument(
        "--threads", type=int, default=0, help="speed, servers: exactly so many, however busy the machine"
    )
    parser.add_argument("--fault", default="", help="faults: this one alone")
    parser.add_argument("--url", nargs="*", default=[], help="servers, failover: llama.cpp's own server, running")
    parser.add_argument("--victim", type=int, default=0, help="failover: number of the process to kill")
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
        case "faults":
            faults(options.model, options.deadline, options.fault)
        case "stock":
            stock(options.model)
        case "memory":
            memory(options.model, options.count)
        case "servers":
            servers(options.model, options.count, options.url, options.threads)
        case "failover":
            failover(options.count, options.url, options.victim)


if __name__ == "__main__":
    main()
