"""How calm the page is while a reply arrives: when the vetted text is painted, what moves, what holds the browser up.

Run: python tests/measurements/page_smoothness.py [STATE_FOLDER]
Starts `healthfaq serve` in guided mode with the embedded model and asks 20 questions of the shipped answers with real
key presses; during every other reply the next question is being typed. The browser measures itself: layout-shift, longtask and
event entries of its Performance API. STATE_FOLDER (an index that is there already) only saves the start.
"""

import json
import statistics
import sys
import tempfile

from page_latency import ARGUMENTS, CHROMIUM, N_QUESTIONS, PROJECT, open_page, served
from playwright.sync_api import Page, sync_playwright

from chatbot.knowledge import load_knowledge

SIZES = ((360, 740), (820, 1180), (1440, 900))
WATCH = """() => {
  window.seen = { shifts: [], tasks: [], events: [] };
  const note = (list, type, options) => new PerformanceObserver((entries) => list.push(...entries.getEntries())).observe({ type, ...options });
  note(seen.shifts, 'layout-shift'); note(seen.tasks, 'longtask'); note(seen.events, 'event', { durationThreshold: 16 });
  window.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter') { return; }
    const start = event.timeStamp, before = document.querySelector('#newest .turn')?.id;
    window.turn = { start };
    const look = () => {
      const now = document.querySelector('#newest .turn');
      if (now && now.id !== before && now.querySelector('.card')) {
        requestAnimationFrame((time) => { window.turn.painted = performance.now() - start; });
      } else if (performance.now() - start < 30000) { requestAnimationFrame(look); }
    };
    look();
  }, true);
}"""
RESULT = """() => { const from = turn.start; const after = (entry) => entry.startTime >= from; const shifts = seen.shifts.filter(after);
  return { painted: turn.painted, shift: shifts.filter((one) => !one.hadRecentInput).reduce((sum, one) => sum + one.value, 0),
    shift_with_input: shifts.reduce((sum, one) => sum + one.value, 0), n_tasks: seen.tasks.filter(after).length,
    longest_task: Math.max(0, ...seen.tasks.filter(after).map((one) => one.duration)),
    slowest_key: Math.max(0, ...seen.events.filter(after).filter((one) => one.name.startsWith('key')).map((one) => one.duration)) }; }"""


def main() -> None:
    """Print the figures of each window size as JSON."""
    questions = [answer.questions[0] for answer in load_knowledge(PROJECT / "knowledge").answers.values()]
    chosen = questions[3 :: len(questions) // N_QUESTIONS][:N_QUESTIONS]
    with (
        tempfile.TemporaryDirectory() as fresh,
        served(sys.argv[1] if len(sys.argv) > 1 else fresh) as url,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        turns = []
        for place, (width, height) in enumerate(SIZES):
            page = browser.new_page(viewport={"width": width, "height": height})
            open_page(page, url)
            page.evaluate(WATCH)
            turns += [
                measure(page, question, is_typing=number % 2 == 1)
                for number, question in enumerate(chosen[place :: len(SIZES)])
            ]
            page.close()
    print(json.dumps(summary(turns), indent=2))


def measure(page: Page, question: str, *, is_typing: bool) -> dict[str, float]:
    """Ask, perhaps type on while the reply comes, and return what the browser saw.

    Half of the replies come without typing: a shift within half a second of a key does not count for the browser.
    """
    box = page.get_by_label("Your question")
    box.fill(question)
    page.wait_for_timeout(700)  # beyond the half second after input in which a shift does not count
    box.press("Enter")
    page.wait_for_function("window.turn?.painted")
    if is_typing:
        box.press_sequentially("and what if it comes back", delay=60)
    page.wait_for_function("document.querySelector('#stop').disabled", timeout=90_000)
    page.wait_for_timeout(600)
    return {"is_typing": is_typing, **page.evaluate(RESULT)}


def summary(turns: list[dict[str, float]]) -> dict[str, float]:
    """Return the medians and the worst of all turns."""
    painted = [turn["painted"] for turn in turns]
    return {
        "replies": len(turns),
        "painted_ms_median": statistics.median(painted),
        "painted_ms_slowest": max(painted),
        "layout_shift_worst": max(turn["shift"] for turn in turns),
        "layout_shift_with_input_worst": max(turn["shift_with_input"] for turn in turns),
        "longest_task_ms": max(turn["longest_task"] for turn in turns),
        "tasks_over_100_ms": sum(turn["longest_task"] > 100 for turn in turns),
        "slowest_key_ms": max(turn["slowest_key"] for turn in turns),
    }


if __name__ == "__main__":
    main()
