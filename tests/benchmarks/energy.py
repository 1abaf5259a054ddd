"""Watt-hours an answer: vetted text alone, the embedded model, and any other model file.

python tests/benchmarks/run.py energy [--questions 30] [--model FILE] [--core-watts 4 10 15]

Where the processor's counter (RAPL) can be read it decides. Elsewhere processor time of all our processes is taken times
the power of a busy core, at several powers; and codecarbon's offline estimate of the whole run stands beside it.
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

from common import PROJECT, STATE, machine, percentile, say

from chatbot.bootstrap import open_service
from chatbot.energy import CHATBOT_ANSWER_WH, JOULES_A_WH, WEB_SEARCH_WH, EnergyMeter, rapl_counters
from chatbot.evaluation.questions import spread
from chatbot.knowledge import load_knowledge
from chatbot.settings import EngineSettings, Settings


def main(arguments: list[str]) -> None:
    """Print one row for each mode."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=30)
    parser.add_argument("--model", type=Path, action="append", default=[])
    parser.add_argument("--core-watts", type=float, nargs="+", default=[4, 10, 15])
    options = parser.parse_args(arguments)
    say(machine())
    say("RAPL" if rapl_counters() else "no readable RAPL counter: processor time × power of a busy core")
    answers = load_knowledge(PROJECT / "knowledge").answers.values()
    questions = spread([answer.questions[0] for answer in answers], options.questions)
    powers = " / ".join(f"{watts:g}" for watts in options.core_watts)
    say(
        f"| mode | n | processor s an answer, median / 95th | Wh an answer at {powers} W a core | 95th | codecarbon, Wh |"
    )
    say("|---|---|---|---|---|---|")
    for label, mode, model in modes(options.model):
        engine = EngineSettings(model=model, reply_timeout_s=900)  # a cut reply would look cheap
        row(label, Settings(state=STATE, mode=mode, engine=engine), questions, options.core_watts)
    say(f"Published: {WEB_SEARCH_WH} Wh a web search, {CHATBOT_ANSWER_WH} Wh an answer of a large chatbot.")


def modes(files: list[Path]) -> list[tuple[str, Any, str]]:
    """Return (label, mode, model) of everything that is measured."""
    return [("verbatim", "verbatim", ""), ("embedded 135M", "guided", "")] + [(f.stem, "guided", str(f)) for f in files]


def row(label: str, settings: Settings, questions: list[str], core_watts: list[float]) -> None:
    """Print one mode's figures."""
    service = open_service(settings, with_model=settings.mode == "guided")
    try:
        service.warm_up()
        service.pipeline.reply(questions[0], mode=settings.mode)  # the model's process is up from here on
        tracker = carbon_tracker()
        cpu, counted = [], []
        for question in questions:
            meter = EnergyMeter()
            service.pipeline.reply(question, mode=settings.mode)
            spent = meter.spent()
            cpu.append(spent.cpu_s)
            counted.append(spent.watt_hours)
        whole = stopped(tracker)
    finally:
        service.close()
    if rapl_counters():
        means, high = f"{statistics.mean(counted):.2g} (RAPL)", f"{percentile(counted, 0.95):.2g}"
    else:
        mean = statistics.mean(cpu)
        means = " / ".join(f"{mean * watts / JOULES_A_WH:.2g}" for watts in core_watts)
        high = " / ".join(f"{percentile(cpu, 0.95) * watts / JOULES_A_WH:.2g}" for watts in core_watts)
    carbon = f"{whole / len(questions):.2g}" if whole is not None else "not installed"
    say(
        f"| {label} | {len(questions)} | {statistics.median(cpu):.2f} / {percentile(cpu, 0.95):.2f} | {means} | {high} | {carbon} |"
    )


def carbon_tracker() -> Any:
    """Return codecarbon's offline tracker, started, or None where it is not installed. It asks nobody on the network."""
    try:
        from codecarbon import OfflineEmissionsTracker
    except ImportError:
        return None
    tracker = OfflineEmissionsTracker(
        country_iso_code="USA", measure_power_secs=1, save_to_file=False, tracking_mode="process", log_level="critical",
        allow_multiple_runs=True,
    )  # fmt: skip
    tracker.start()
    return tracker


def stopped(tracker: Any) -> float | None:
    """Return the watt-hours of the whole run by codecarbon: processor and memory."""
    if tracker is None:
        return None
    tracker.stop()
    return float(tracker.final_emissions_data.energy_consumed) * 1000
