"""The engine beside other servers. ``python tests/measurements/engine_servers.py PART``; figures in engine.md."""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from engine_common import BATCH, CONTEXT, STATE, never, prompts, started, timed

from chatbot.engine.models import EMBEDDED, model_path
from chatbot.engine.writer import Engine, start_writer
from chatbot.prompting import Message
from chatbot.settings import EngineSettings


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
    parser.add_argument("part", choices=["stock", "servers", "failover"])
    parser.add_argument("--model", default=EMBEDDED)
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--threads", type=int, default=0, help="exactly so many, however busy the machine")
    parser.add_argument("--url", nargs="*", default=[], help="llama.cpp's own server, running")
    parser.add_argument("--victim", type=int, default=0, help="number of the process to kill")
    options = parser.parse_args()
    match options.part:
        case "stock":
            stock(options.model)
        case "servers":
            servers(options.model, options.count, options.url, options.threads)
        case "failover":
            failover(options.count, options.url, options.victim)


if __name__ == "__main__":
    main()
