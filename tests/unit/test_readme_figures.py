"""The figures of README.md, their reports and their commands agree."""

import sys

import pytest
from fakes import PROJECT

sys.path.insert(0, str(PROJECT / "tests" / "measurements"))
from readme_table import README, disagreements, readme_with, rows

pytestmark = pytest.mark.unit


def test_every_figure_of_the_readme_stands_in_its_report_with_its_command():
    assert rows()
    assert disagreements(rows()) == []


def test_the_table_of_the_readme_is_what_the_figures_say():
    text = README.read_text(encoding="utf-8")
    assert text == readme_with(text, rows()), "run: python tests/measurements/readme_table.py"


def test_a_figure_that_its_report_does_not_hold_is_told(tmp_path):
    (tmp_path / "a.md").write_text("| x | **0.898** | retrieval.py |", encoding="utf-8")
    row = {"what": "x", "report": "a.md", "command": "python tests/measurements/retrieval.py"}
    assert disagreements([row | {"measured": "{0.898}"}], tmp_path) == []
    assert len(disagreements([row | {"measured": "{0.89}"}], tmp_path)) == 1
    assert len(disagreements([row | {"measured": "{0.898}", "command": "python tests/no.py"}], tmp_path)) == 1
