"""``eval --gate``: which limits of the settings an evaluation breaks, and what got worse since the accepted one."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from chatbot.evaluation.compare import Changes
from chatbot.evaluation.measure import Evaluation
from chatbot.settings import CheckSettings, EvalSettings


@dataclass(frozen=True, slots=True)
class Limit:
    """One figure, and the bound that it must keep."""

    name: str
    value: float | None  # None: nothing to measure it on, which breaks nothing
    bound: float
    at_least: bool
    where: str  # the setting that holds the bound

    @property
    def is_kept(self) -> bool:
        """Whether the figure keeps its bound."""
        if self.value is None:
            return True
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"is_kept": self.is_kept}

    def __str__(self) -> str:
        word = "at least" if self.at_least else "at most"
        value = "nothing to measure it on" if self.value is None else f"{self.value:.4g}"
        return f"{self.name}: {value}, {word} {self.bound:g} ({self.where})"


def limits_of(
    evaluation: Evaluation, check: CheckSettings, limits: EvalSettings, changes: Changes | None
) -> list[Limit]:
    """Return every limit with its figure; those about changes only where there is something to compare with."""
    shares = {name: rate.share for name, rate in evaluation.rates().items()}
    found = list(_of_shares(shares, check, limits))
    figures = evaluation.figures()
    found += [
        Limit("first text, median ms", figures["first text, median ms"], limits.max_first_text_ms, False,
              "eval.max_first_text_ms"),
        Limit("reading grade, median", figures["reading grade, median"], check.max_grade, False, "check.max_grade"),
        Limit("answers that look swapped", 2 * len(evaluation.swapped), limits.max_swapped, False, "eval.max_swapped"),
    ]  # fmt: skip
    for name in ("watt-hours a verbatim answer", "watt-hours a worded answer"):
        found.append(Limit(name, figures[name], limits.max_watt_hours, False, "eval.max_watt_hours"))
    if changes is not None:
        found += [
            Limit("red-flag phrases taken out", len(changes.phrases_gone), limits.max_phrases_gone, False,
                  "eval.max_phrases_gone"),
            Limit("red flags no longer found", len(changes.flags_lost), limits.max_flags_lost, False,
                  "eval.max_flags_lost"),
            Limit("questions newly given a wrong answer", len(changes.newly_wrong), limits.max_newly_wrong, False,
                  "eval.max_newly_wrong"),
        ]  # fmt: skip
    return found


def _of_shares(shares: Mapping[str, float | None], check: CheckSettings, limits: EvalSettings) -> Iterator[Limit]:
    rows = (
        ("right or offered", check.min_found, True, "check.min_found"),
        ("given a wrong answer", check.max_wrong, False, "check.max_wrong"),
        ("answered although out of scope", limits.max_out_of_scope_answered, False, "eval.max_out_of_scope_answered"),
        ("red flags found, own examples by the rules alone", limits.min_own_red_flags, True, "eval.min_own_red_flags"),
        ("red flags found, examples set aside", limits.min_red_flags, True, "eval.min_red_flags"),
        ("false alarms, examples set aside", limits.max_false_alarms, False, "eval.max_false_alarms"),
        ("another answer in other wording", limits.max_other_answer, False, "eval.max_other_answer"),
        ("same reply after a restart", limits.min_same_after_restart, True, "eval.min_same_after_restart"),
        ("generated sentences refused", limits.max_refused, False, "eval.max_refused"),
        ("shown sentences without support", limits.max_unsupported, False, "eval.max_unsupported"),
    )
    for name, bound, at_least, where in rows:
        if name in shares:
            yield Limit(name, shares[name], bound, at_least, where)
