"""What every benchmark shares: the machine's line, interleaving, medians and ratios, memory."""

import importlib.metadata
import json
import platform
import random
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))
STATE = Path(tempfile.gettempdir()) / "healthfaq-benchmarks"  # kept, so that the index is built once
PACKAGES = ("torch", "sentence-transformers", "faiss-cpu", "bm25s", "llama_cpp_python", "gradio", "numpy")


def machine(packages: Sequence[str] = PACKAGES) -> str:
    """Return the line that every result begins with: day, hardware, load, versions."""
    versions = []
    for name in packages:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{name} not installed")
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {psutil.cpu_count()} cores, {memory:.0f} GiB, load {psutil.getloadavg()[0]:.1f}, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}; " + ", ".join(versions)
    )


def interleaved(ways: Mapping[str, Callable[[int], float]], rounds: int, seed: int = 0) -> dict[str, list[float]]:
    """Return each way's figures; every round runs every way once, in a new order, so that slow spells hit all alike."""
    figures: dict[str, list[float]] = {name: [] for name in ways}
    order, chance = list(ways), random.Random(seed)
    for place in range(rounds):
        chance.shuffle(order)
        for name in order:
            figures[name].append(ways[name](place))
    return figures


def table(figures: Mapping[str, Sequence[float]], unit: str, base: str = "") -> str:
    """Return a Markdown table of medians with the middle half, and the ratio to one of the ways."""
    base = base or next(iter(figures))
    middle = statistics.median(figures[base])
    lines = [f"| way | median {unit} | middle half | ratio to {base} | n |", "|---|---|---|---|---|"]
    for name, values in figures.items():
        low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
        median = statistics.median(values)
        ratio = f"{median / middle:.2f}" if middle else "–"
        lines.append(f"| {name} | {median:.3g} | {low:.3g} to {high:.3g} | {ratio} | {len(values)} |")
    return "\n".join(lines)


def memory_mib(pid: int | None = None) -> float:
    """Return the proportional memory (PSS) of a process and all below it, in MiB; resident where PSS cannot be read."""
    root = psutil.Process(pid)
    total = 0
    for process in (root, *root.children(recursive=True)):
        try:
            full = process.memory_full_info()
            total += getattr(full, "pss", full.rss)
        except psutil.Error:
            continue
    return total / 2**20


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def say(text: object = "") -> None:
    """Print at once, whatever the output goes to."""
    print(text, flush=True)


def write_json(path: Path, content: object) -> None:
    """Write plain values for a report."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
