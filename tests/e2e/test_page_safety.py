"""Hostile text from patients and from knowledge files, foreign requests, and the page in a frame."""

import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import frontmatter
import pytest
import yaml
from hostile_strings import STRINGS
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.e2e

PROJECT = Path(__file__).resolve().parents[2]
FEVER = "When should I see a doctor about a fever?"
WATCH = """window.hacked = undefined; window.violations = [];
document.addEventListener('securitypolicyviolation', (event) => window.violations.push(event.violatedDirective));"""
BIDI = "\u202egnirts\u202c \u2066fever\u2069 \u200f\u061c"

HUGE_TABLE = "\n".join(["|" + "very-wide-column|" * 40, "|" + "-|" * 40, *["|" + "cell|" * 40] * 60])
LONG_WORD = "unbreakable" * 30
CODE = f"```\n{LONG_WORD * 9}\n```"


def open_page(page: Page, url: str) -> None:
    page.add_init_script(WATCH)
    page.goto(url)
    expect(page.get_by_label("Your question")).to_be_visible()


def ask(page: Page, question: str) -> None:
    page.get_by_label("Your question").fill(question)
    page.get_by_label("Your question").press("Enter")


def nothing_ran(page: Page) -> bool:
    return bool(page.evaluate("() => window.hacked === undefined && window.violations.length === 0"))


def overflows_sideways(page: Page) -> bool:
    return bool(page.evaluate("() => document.documentElement.scrollWidth > innerWidth + 1"))


def test_hostile_questions_are_shown_as_they_were_typed_and_run_nothing(page, verbatim):
    open_page(page, verbatim.url)
    for number, text in enumerate(STRINGS):
        if number % 10 == 0:
            page.get_by_role("button", name="Clear and finish").click()
            expect(page.locator("article")).to_have_count(0)
        ask(page, f"{number} {text}")
        expect(page.locator("#newest .asked")).to_contain_text(" ".join(f"{number} {text}".split()))
    assert nothing_ran(page)


def hostile_answer(title: str, question: str, body: str) -> str:
    head = {
        "title": title,
        "questions": [question],
        "sources": [{"title": "<img src=x onerror=hacked=1>", "publisher": "<svg onload=hacked=1>",
                     "url": "https://example.org/?a=1&b='\"onfocus=hacked=1"}],
        "review": {"status": "draft", "reviewer": None, "reviewed": None, "due": None},
    }  # fmt: skip
    return frontmatter.dumps(frontmatter.Post(body, **head))


@pytest.fixture(scope="module")
def hostile(serve, tmp_path_factory):
    """Return a server over answers that try to take the page over."""
    folder = tmp_path_factory.mktemp("hostile") / "knowledge"
    shutil.copytree(PROJECT / "knowledge", folder, ignore=shutil.ignore_patterns("answers"))
    items = "\n".join(f"- Zebra: {' '.join(text.split())}" for text in STRINGS)
    raw = "\n\n".join(text for text in STRINGS)
    answers = {
        "zebra/items": hostile_answer('<script>hacked=1</script> "zebra"', "How do I feed a zebra?", f"Feed it.\n\n{items}"),
        "zebra/raw": hostile_answer("Walking a zebra", "Where should I walk my zebra?", f"Walk it.\n\n{raw}"),
        "zebra/wide": hostile_answer(
            "Washing a zebra", "How do I wash a zebra?", f"Wash it {BIDI} {LONG_WORD}.\n\n{HUGE_TABLE}\n\n{CODE}"
        ),
    }  # fmt: skip
    for id_, text in answers.items():
        path = folder / "answers" / f"{id_}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    clinic = yaml.safe_load((folder / "clinic.yaml").read_text(encoding="utf-8"))
    clinic |= {"name": "Riverside <script>hacked=1</script>", "welcome": "<img src=x onerror=hacked=1>"}
    (folder / "clinic.yaml").write_text(yaml.safe_dump(clinic), encoding="utf-8")
    return serve(mode="verbatim", knowledge=str(folder))


@pytest.mark.parametrize(
    "question", ["How do I feed a zebra?", "Where should I walk my zebra?", "How do I wash a zebra?"]
)
def test_hostile_answers_run_nothing_and_keep_the_layout(page, hostile, question):
    page.set_viewport_size({"width": 360, "height": 740})
    open_page(page, hostile.url)
    ask(page, question)
    expect(page.locator("#newest .vetted")).to_contain_text("it")
    assert page.locator("#newest .vetted").locator("script, img, iframe, svg, style, form, input, object").count() == 0
    links = page.locator("#newest .vetted a").evaluate_all("links => links.map(link => link.protocol)")
    assert set(links) <= {"https:", "http:"}
    assert not overflows_sideways(page)
    assert nothing_ran(page)


def test_a_turned_round_or_endless_question_keeps_the_layout(page, verbatim):
    page.set_viewport_size({"width": 360, "height": 740})
    open_page(page, verbatim.url)
    for question in (f"{BIDI} fever", "x" * 1990, "\n".join(["fever"] * 300), "🤒" * 500, "Z̷̖a̶l̵g̸o̴" * 60):
        ask(page, question)
        expect(page.locator("#newest .asked")).to_contain_text(question.split()[-1][:3].strip("\u2069\u200f\u061c"))
        assert not overflows_sideways(page)
    assert nothing_ran(page)


def test_even_markup_that_got_in_could_not_run(page, verbatim):
    open_page(page, verbatim.url)
    page.evaluate("""() => { const place = document.createElement('div');
        place.innerHTML = '<img src=x onerror="hacked=1"><a id=trap href="javascript:hacked=1">x</a>';
        document.body.append(place);
        const script = document.createElement('script'); script.textContent = 'hacked=1'; document.body.append(script);
        document.getElementById('trap').click(); }""")
    page.wait_for_function("window.violations.length >= 3")
    assert page.evaluate("window.hacked") is None


def test_a_stranger_finds_no_way_in_but_the_page(page, verbatim):
    refused_get = (
        "/gradio_api/runs", "/gradio_api/upload", "/gradio_api/file=/etc/passwd", "/file=/etc/passwd", "/docs", "/redoc",
        "/openapi.json", "/gradio_api/openapi.json", "/gradio_api/info", "/gradio_api/call/ask", "/monitoring",
        "/gradio_api/proxy=https://example.org/", "/static/..%2f..%2f..%2fetc%2fpasswd", "/assets/%2e%2e/index.html",
        "/gradio_api/file=C:%5Cwindows%5Cwin.ini", "/gradio_api/file=..%2f..%2fknowledge%2fclinic.yaml",
    )  # fmt: skip
    for path in refused_get:
        assert page.request.get(verbatim.url + path).status == 404, path
    upload = {"files": {"name": "a.txt", "mimeType": "text/plain", "buffer": b"hello"}}
    assert page.request.post(f"{verbatim.url}/gradio_api/upload", multipart=upload).status == 404
    for path in (
        "/gradio_api/call/ask",
        "/gradio_api/run/ask",
        "/gradio_api/api/predict",
        "/api/predict",
        "/run/predict",
    ):
        assert page.request.post(verbatim.url + path, data={"data": [FEVER]}).status == 404, path


def test_nobody_jumps_the_queue_of_questions(page, verbatim):
    config = page.request.get(f"{verbatim.url}/config").json()
    queued = [call["id"] for call in config["dependencies"] if call["queue"]]
    assert queued
    for number in queued:
        body = {"data": [FEVER], "fn_index": number, "session_hash": "stranger"}
        assert page.request.post(f"{verbatim.url}/gradio_api/run/predict", data=body).status == 404


def test_the_page_names_no_other_host_in_what_it_loads(page, verbatim):
    open_page(page, verbatim.url)
    addresses = page.evaluate("""() => [...document.querySelectorAll('[src], link[href], meta[content*="//"], form[action]')]
        .map((node) => node.src || node.href || node.content || node.action)""")
    assert addresses
    assert [address for address in addresses if not address.startswith((verbatim.url, "data:"))] == []


@pytest.fixture(scope="module")
def web_site() -> Iterator[ThreadingHTTPServer]:
    """Return a clinic's own web site on another port; it frames whatever page its path names."""

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = self.path.partition("?")[2]
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f'<!doctype html><title>Clinic</title><iframe src="{address}" title="Questions" '
                             'style="width:100%;height:40rem;border:0"></iframe>'.encode())  # fmt: skip

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=partial(server.serve_forever, poll_interval=0.05), daemon=True).start()
    yield server
    server.shutdown()


def test_no_web_site_can_frame_the_page_until_it_is_named(page, verbatim, web_site):
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text) if "frame-ancestors" in message.text else None)
    page.goto(f"http://127.0.0.1:{web_site.server_port}/?{verbatim.url}/")
    expect(page.frame_locator("iframe").get_by_label("Your question")).to_have_count(0)
    page.wait_for_timeout(300)
    assert page.frames[1].url.startswith("chrome-error:") or refused


def test_a_named_web_site_shows_the_page_and_it_answers_there(page, serve, web_site):
    origin = f"http://127.0.0.1:{web_site.server_port}"
    served = serve(mode="verbatim", embed_origins=[origin])
    assert "<iframe src=" in served.output()
    page.goto(f"{origin}/?{served.url}/")
    frame = page.frame_locator("iframe")
    frame.get_by_label("Your question").fill(FEVER)
    frame.get_by_label("Your question").press("Enter")
    expect(frame.locator("#newest .vetted").get_by_role("heading", level=2)).to_have_text("Fever in adults")
