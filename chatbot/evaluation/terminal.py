"""The evaluation in the terminal: the confusion matrix first."""

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from chatbot.energy import CHATBOT_ANSWER_WH, WEB_SEARCH_WH
from chatbot.evaluation.compare import Change, Changes
from chatbot.evaluation.limits import Limit
from chatbot.evaluation.measure import Evaluation
from chatbot.evaluation.questions import CAME

SHOWN = 20


def print_evaluation(out: Console, evaluation: Evaluation, changes: Changes | None, limits: Sequence[Limit]) -> None:
    """Print everything a clinic looks at first."""
    out.print(Group(_matrix(evaluation), _rates(evaluation), _figures(evaluation)))
    if evaluation.swapped:
        out.print(_lines("These answers' texts fit each other's questions better than their own:",
                         [f"{one} and {other}" for one, other, _ in evaluation.swapped]))  # fmt: skip
    if changes is not None:
        out.print(_changes(changes))
    for limit in limits:
        if not limit.is_kept:
            out.print(Text(f"Broken: {limit}", style="bold red"), soft_wrap=True)


def _matrix(evaluation: Evaluation) -> Table:
    table = Table(title="What came, by what was expected", title_justify="left")
    table.add_column("expected")
    for came in CAME:
        table.add_column(came, justify="right")
    table.add_column("asked", justify="right")
    for kind, row in evaluation.matrix().items():
        table.add_row(kind, *(str(row[came] or "·") for came in CAME), str(sum(row.values())))
    table.caption = (
        "offered: with the right answer, or where nothing fits; others: without it; card: a safety rule fired"
    )
    return table


def _rates(evaluation: Evaluation) -> Table:
    table = Table(title="Shares, with 95 % intervals (Wilson)", title_justify="left")
    table.add_column("what")
    for name in ("share", "from", "to", "of"):
        table.add_column(name, justify="right")
    for name, rate in evaluation.rates().items():
        if rate.share is None or rate.interval is None:
            table.add_row(name, "–", "", "", "0")
            continue
        low, high = rate.interval
        table.add_row(name, f"{rate.share:.1%}", f"{low:.1%}", f"{high:.1%}", f"{rate.count} of {rate.n}")
    return table


def _figures(evaluation: Evaluation) -> Table:
    table = Table(title="Times, reading, energy", title_justify="left")
    table.add_column("what")
    table.add_column("figure", justify="right")
    for name, value in evaluation.figures().items():
        if value is not None:
            table.add_row(name, f"{value:.3g}")
    published = f"{WEB_SEARCH_WH:g} for a web search, {CHATBOT_ANSWER_WH:g} for a large chatbot's answer (published)"
    table.caption = f"Watt-hours by {evaluation.verbatim_energy.method}; beside it {published}"
    return table


def _changes(changes: Changes) -> RenderableType:
    parts: list[RenderableType] = [
        Text(
            f"Since the earlier evaluation: {len(changes.better)} questions better, {len(changes.worse)} worse, "
            f"{len(changes.other)} with another reply that is as good; {changes.n_new} new, {changes.n_gone} gone."
        )
    ]
    parts += [_lines(title, list(map(_said, rows))) for title, rows in
              (("Worse:", changes.worse), ("Better:", changes.better), ("Other:", changes.other)) if rows]  # fmt: skip
    told = (("Red flags no longer found:", changes.flags_lost), ("New false alarms:", changes.new_alarms),
            ("Red-flag phrases taken out:", changes.phrases_gone))  # fmt: skip
    return Group(*parts, *(_lines(title, rows) for title, rows in told if rows))


def _said(change: Change) -> str:
    return f"{change.question[:90]!r}: {change.before} → {change.now}"


def _lines(title: str, rows: Sequence[str]) -> Text:
    more = [f"  … and {len(rows) - SHOWN} more"] if len(rows) > SHOWN else []
    return Text("\n".join([title, *(f"  {row}" for row in rows[:SHOWN]), *more]))
