"""Why an answer came: told for demonstrations, never to patients."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.e2e


def ask(page: Page, url: str, question: str) -> None:
    page.goto(url)
    page.get_by_label("Your question").fill(question)
    page.get_by_label("Your question").press("Enter")
    expect(page.locator("#newest .card")).to_be_visible()


def test_a_demonstration_shows_why_an_answer_came(serve: Callable, page: Page):
    served = serve(mode="verbatim", explain=True)
    ask(page, served.url, "What temperature is a fever?")
    page.get_by_text("Why this answer?").click()
    why = page.locator(".why")
    expect(why).to_contain_text("No safety rule fired.")
    expect(why).to_contain_text("is enough")
    expect(why.locator("table")).to_contain_text("fever/adults")


def test_patients_are_not_shown_it(verbatim, page: Page):
    ask(page, verbatim.url, "What temperature is a fever?")
    expect(page.locator(".why")).to_have_count(0)
