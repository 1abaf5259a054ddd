"""The plots of the report, as SVG text to put into the page."""

import io
import re
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from chatbot.evaluation.measure import Evaluation

INK, SOFT, WARN = "#17415c", "#8fb3c9", "#b4472e"


def risk_coverage_plot(evaluation: Evaluation) -> str:
    """Return the risk-coverage curve, with the share of questions that are really answered."""
    points = evaluation.risk_coverage()
    figure = Figure(figsize=(5.2, 3.2), layout="constrained")
    axes = figure.subplots()
    if points:
        axes.plot(*zip(*points, strict=True), color=INK)
        answered = sum(one.asked.outcome == "answered" for one in evaluation.results) / len(points)
        axes.axvline(min(1.0, answered), color=WARN, linestyle="--", linewidth=1)
        axes.annotate("answered today", (min(1.0, answered), 0.9), xytext=(4, 0), textcoords="offset points", size=8)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="share of all questions answered", ylabel="share of those wrong")
    return _svg(figure)


def rates_plot(evaluation: Evaluation) -> str:
    """Return every share with its interval."""
    rows = [(name, rate) for name, rate in evaluation.rates().items() if rate.share is not None][::-1]
    figure = Figure(figsize=(7.5, 0.3 * len(rows) + 0.8), layout="constrained")
    axes = figure.subplots()
    for place, (_, rate) in enumerate(rows):
        low, high = rate.interval or (0.0, 0.0)
        axes.plot((low, high), (place, place), color=SOFT, linewidth=5, solid_capstyle="butt")
        axes.plot(rate.share or 0.0, place, "o", color=INK, markersize=4)
    axes.set(xlim=(-0.01, 1.01), xlabel="share, with its 95 % interval")
    axes.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=8)
    axes.grid(axis="x", alpha=0.3)
    return _svg(figure)


def certainty_plot(evaluation: Evaluation) -> str:
    """Return how certain the bot was where its best hit was right, wrong, or nothing fits."""
    figure = Figure(figsize=(5.2, 3.2), layout="constrained")
    axes = figure.subplots()
    sure = [(one.certainty, one) for one in evaluation.results if one.certainty is not None]
    groups = {
        "best hit right": (INK, [c for c, one in sure if one.first_is_right]),
        "best hit wrong": (WARN, [c for c, one in sure if one.asked.kind == "answered" and not one.first_is_right]),
        "nothing fits": (SOFT, [c for c, one in sure if one.asked.kind == "no_answer"]),
    }
    held = {name: (colour, values) for name, (colour, values) in groups.items() if values}
    if held:
        values = [values for _, values in held.values()]
        axes.hist(values, bins=20, range=(0, 1), stacked=True, color=[c for c, _ in held.values()], label=list(held))
        axes.legend(fontsize=8)
    axes.set(xlabel="certainty", ylabel="questions")
    return _svg(figure)


def times_plot(times: Sequence[float]) -> str:
    """Return how long patients waited for the first text, as a cumulative share."""
    figure = Figure(figsize=(5.2, 3.2), layout="constrained")
    axes = figure.subplots()
    if times:
        axes.plot(times, [(place + 1) / len(times) for place in range(len(times))], color=INK)
    axes.set(xlabel="milliseconds to the first text", ylabel="share of questions", ylim=(0, 1))
    return _svg(figure)


def _svg(figure: Figure) -> str:
    """Return the figure as an element, without what names addresses or the day."""
    held = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "healthfaq", "font.family": "sans-serif"}):
        figure.savefig(held, format="svg", metadata={"Date": None, "Creator": None})
    text = held.getvalue()
    return re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
