"""Everything ``healthfaq eval`` measures, gathered from one service and a second one opened after it."""

import platform
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from statistics import median
from typing import Any

import psutil

from chatbot import __version__
from chatbot.embedder import Embedder
from chatbot.energy import Energy, EnergyMeter
from chatbot.evaluation.questions import CAME, Came, Progress, Result, Worded, ask_all, spread, word_all
from chatbot.evaluation.rates import Rate
from chatbot.evaluation.safety import ASIDE, OWN, SafetyResults, measure_safety
from chatbot.evaluation.steadiness import Reworded, reword_all, same_again
from chatbot.evaluation.texts import is_supported, swapped_pairs
from chatbot.knowledge import Knowledge
from chatbot.pipeline import Pipeline
from chatbot.safety.rules import RuleBook
from chatbot.staff.acceptance import Half
from chatbot.staff.readability import read_markdown

REWORDED = 50  # questions, each in up to four wordings
ASKED_AGAIN = 40
ANSWERED = "answered"
NO_ANSWER = "no_answer"
VERSION = 1  # of report.json

Bars = Callable[[str], AbstractContextManager[Progress]]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is evaluated."""

    pipeline: Pipeline
    rules: RuleBook
    embedder: Embedder
    reopen: Callable[[], AbstractContextManager[Pipeline]]  # the same knowledge, opened anew

    @property
    def knowledge(self) -> Knowledge:
        """The clinic's own files."""
        return self.pipeline.knowledge


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured; ``report.json`` is made from it alone."""

    made: datetime
    n_answers: int
    results: tuple[Result, ...]
    safety: SafetyResults
    reworded: tuple[Reworded, ...]
    restarted: Rate
    swapped: tuple[tuple[str, str, float], ...]
    grades: tuple[float, ...]  # US school grades of the answers
    verbatim_energy: Energy  # of all questions asked without a model
    model: str | None = None
    worded: tuple[Worded, ...] = ()
    unsupported: tuple[tuple[str, str], ...] = ()  # shown sentence, id of the answer it cites
    worded_energy: Energy | None = None

    def of_kind(self, kind: str, half: Half | None = None) -> list[Result]:
        """Return the results of one expectation, of one half of the questions if asked."""
        return [one for one in self.results if one.asked.kind == kind and half in (None, one.asked.half)]

    def matrix(self) -> dict[str, dict[Came, int]]:
        """Return how often each expectation led where; "answered" first."""
        kinds = sorted({one.asked.kind for one in self.results}, key=lambda kind: (kind != ANSWERED, kind))
        return {kind: {came: sum(one.came == came for one in self.of_kind(kind)) for came in CAME} for kind in kinds}

    def rates(self) -> dict[str, Rate]:
        """Return every share by the name it has in the report and in messages."""
        inside, outside = self.of_kind(ANSWERED), self.of_kind(NO_ANSWER)
        held = self.of_kind(ANSWERED, "report")
        answered = [one for one in self.results if one.asked.outcome == ANSWERED]
        sentences = sum(len(one.shown) + len(one.refused) for one in self.worded)
        shown = sum(len(one.shown) for one in self.worded)
        rates = {
            "answered right": Rate.of(inside, lambda one: one.came == "right"),
            "right or offered": Rate.of(inside, _found),
            "right or offered, half no threshold was set from": Rate.of(held, _found),
            "needlessly refused": Rate.of(inside, lambda one: one.came in ("refused", "card")),
            "given a wrong answer": Rate.of(inside, lambda one: one.came == "wrong"),
            "wrong among all answers given": Rate.of(answered, lambda one: one.asked.verdict == "wrong"),
            "answered although out of scope": Rate.of(outside, lambda one: one.came == "wrong"),
            "offered although out of scope": Rate.of(outside, lambda one: one.asked.outcome == "did_you_mean"),
            "red flags found, own examples by the rules alone": self.safety.recall(OWN),
            "red flags found, examples set aside": self.safety.recall(ASIDE),
            "false alarms, examples set aside": self.safety.alarms(ASIDE),
            "requests to decline found, examples set aside": self.safety.recall(ASIDE, urgent=False),
            "same reply in other wording": Rate.of(self.reworded, lambda one: one.is_same),
            "another answer in other wording": Rate.of(self.reworded, lambda one: one.is_other_answer),
            "same reply after a restart": self.restarted,
        }
        if self.worded:
            rates |= {
                "replies with a checked sentence": Rate.of(self.worded, lambda one: bool(one.shown)),
                "replies in which the model says that nothing fits": Rate.of(self.worded, lambda one: one.abstained),
                "generated sentences refused": Rate(sentences - shown, sentences),
                "shown sentences without support": Rate(len(self.unsupported), shown),
            }
        return rates

    def risk_coverage(self) -> list[tuple[float, float]]:
        """Return (coverage, risk) as ever less certain questions are answered with their best hit.

        Source: El-Yaniv & Wiener, "On the foundations of noise-free selective classification", JMLR 2010.
        """
        ranked = sorted((one for one in self.results if one.certainty is not None), key=lambda r: -(r.certainty or 0))
        points, wrong = [], 0
        for n, one in enumerate(ranked, 1):
            wrong += not one.first_is_right
            points.append((n / len(ranked), wrong / n))
        return points

    def first_text_ms(self) -> list[float]:
        """Return how long each patient waited for vetted or fixed text, fastest first."""
        return sorted(one.first_text_ms for one in self.results)

    def figures(self) -> dict[str, float | None]:
        """Return what is no share: times, grades, energy."""
        times, worded = self.first_text_ms(), sorted(one.total_ms for one in self.worded)
        return {
            "first text, median ms": _at(times, 0.5),
            "first text, 95th percentile ms": _at(times, 0.95),
            "worded reply, median ms": _at(worded, 0.5),
            "reading grade, median": median(self.grades) if self.grades else None,
            "reading grade, hardest": max(self.grades, default=None),
            "watt-hours a verbatim answer": self.verbatim_energy.per(len(self.results)) if self.results else None,
            "watt-hours a worded answer": self.worded_energy.per(len(self.worded))
            if self.worded_energy and self.worded
            else None,
        }

    def as_json(self) -> dict[str, Any]:
        """Return the whole report as plain values."""
        return {
            "version": VERSION,
            "made": self.made.isoformat(timespec="seconds"),
            "program": __version__,
            "hardware": hardware(),
            "answers": self.n_answers,
            "model": self.model,
            "intervals": "Wilson score, 95 %",
            "energy": {"method": self.verbatim_energy.method},
            "matrix": self.matrix(),
            "rates": {name: rate.as_json() for name, rate in self.rates().items()},
            "figures": {name: _rounded(value) for name, value in self.figures().items()},
            "risk_coverage": [[round(coverage, 4), round(risk, 4)] for coverage, risk in self.risk_coverage()],
            "swapped": [list(pair) for pair in self.swapped],
            "questions": [one.as_json() for one in self.results],
            "examples": self.safety.as_json(),
            "phrases": list(self.safety.phrases),
            "reworded": [one.as_json() for one in self.reworded],
            "worded": [one.as_json() for one in self.worded],
            "unsupported": [list(one) for one in self.unsupported],
        }


def evaluate(subject: Subject, bars: Bars, *, worded: int, core_watts: float) -> Evaluation:
    """Return everything that can be measured on this subject.

    Args:
        subject: What is evaluated.
        bars: Gives a progress bar for a step's name.
        worded: So many of the answered questions are worded by the model as well, if there is one.
        core_watts: The power of a busy core, where the machine has no energy counter.
    """
    pipeline, knowledge = subject.pipeline, subject.knowledge
    pipeline.reply("a first question", mode="verbatim")  # loads what is loaded on first use
    meter = EnergyMeter(core_watts)
    with bars("questions") as progress:
        results = ask_all(pipeline, knowledge.checks, progress)
    verbatim_energy = meter.spent()
    with bars("safety examples") as progress:
        safety = measure_safety(subject.rules, pipeline.gate, progress)
    answered = [one for one in results if one.asked.outcome == ANSWERED]
    with bars("other wordings") as progress:
        reworded = reword_all(pipeline, spread(results, REWORDED), progress)
    with subject.reopen() as opened_anew, bars("after a restart") as progress:
        restarted = same_again(opened_anew, spread(results, ASKED_AGAIN), progress)
    evaluation = Evaluation(
        made=datetime.now(UTC),
        n_answers=len(knowledge.answers),
        results=tuple(results),
        safety=safety,
        reworded=tuple(reworded),
        restarted=restarted,
        swapped=tuple(swapped_pairs(knowledge.answers, subject.embedder)),
        grades=tuple(read_markdown(answer.text).grade for answer in knowledge.answers.values()),
        verbatim_energy=verbatim_energy,
    )
    if pipeline.writer is None or pipeline.writer.name is None or not worded:
        return evaluation
    return _with_model(evaluation, subject, [one.asked.question for one in spread(answered, worded)], bars, core_watts)


def _with_model(
    evaluation: Evaluation, subject: Subject, questions: Sequence[str], bars: Bars, core_watts: float
) -> Evaluation:
    meter = EnergyMeter(core_watts)
    with bars("replies by the model") as progress:
        worded = word_all(subject.pipeline, questions, progress)
    spent = meter.spent()
    answers = subject.knowledge.answers
    shown = [pair for one in worded for pair in one.shown]
    return replace(
        evaluation,
        model=subject.pipeline.writer.name if subject.pipeline.writer else None,
        worded=tuple(worded),
        unsupported=tuple(
            (text, id_) for text, id_ in shown if id_ not in answers or not is_supported(text, answers[id_])
        ),
        worded_energy=spent,
    )


def hardware() -> dict[str, Any]:
    """Return what the figures were taken on."""
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "processor": platform.processor() or platform.machine(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load": round(psutil.getloadavg()[0], 2),
    }


def _found(one: Result) -> bool:
    return one.came in ("right", "offered")


def _at(ordered: Sequence[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
