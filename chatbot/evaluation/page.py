"""``report.html``: the whole evaluation in one file that asks for nothing from elsewhere."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from chatbot.energy import CHATBOT_ANSWER_WH, WEB_SEARCH_WH
from chatbot.evaluation.compare import Changes
from chatbot.evaluation.limits import Limit
from chatbot.evaluation.measure import Evaluation, hardware
from chatbot.evaluation.plots import certainty_plot, rates_plot, risk_coverage_plot, times_plot
from chatbot.evaluation.questions import CAME


def report_page(evaluation: Evaluation, changes: Changes | None, limits: Sequence[Limit]) -> str:
    """Return the page's HTML."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return templates.get_template("report.html").render(
        evaluation=evaluation,
        columns=CAME,
        matrix=evaluation.matrix(),
        rates=evaluation.rates(),
        figures=evaluation.figures(),
        changes=changes,
        limits=limits,
        failures=[one for one in evaluation.results if one.came not in ("right", "offered")],
        missed=[one for one in evaluation.safety.failures() if one.must_fire],
        alarms=[one for one in evaluation.safety.failures() if not one.must_fire],
        hardware=hardware(),
        published={"web search": WEB_SEARCH_WH, "answer of a large chatbot": CHATBOT_ANSWER_WH},
        plots={
            "Risk and coverage": risk_coverage_plot(evaluation),
            "Certainty": certainty_plot(evaluation),
            "Time to the first text": times_plot(evaluation.first_text_ms()),
        },
        rates_plot=rates_plot(evaluation),
    )
