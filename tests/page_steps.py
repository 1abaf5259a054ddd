"""What a patient does on the page, for the browser tests."""

from playwright.sync_api import Page, expect

FEVER = "When should I see a doctor about a fever?"
MODEL_SENTENCE = "Rest and drink plenty of water or other fluids. [1]"


def open_page(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.get_by_label("Your question")).to_be_visible(timeout=30_000)


def ask(page: Page, question: str) -> None:
    page.get_by_label("Your question").fill(question)
    page.get_by_role("button", name="Ask", exact=True).click()


def newest(page: Page):
    return page.locator("#newest")


def vetted(page: Page):
    return newest(page).locator(".vetted")


def worded(page: Page):
    return newest(page).locator(".worded")
