"""What the page's guard lets in, with a fake page behind it."""

import re

import pytest
import yaml
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.testclient import TestClient

from chatbot.errors import SettingsError
from chatbot.page.document import rewrite_document
from chatbot.page.guard import MAX_BODY_BYTES, Guard, Rules, host_name, is_known_host
from chatbot.page.limits import RateLimit
from chatbot.settings import load_settings

pytestmark = pytest.mark.unit

JOIN = "/gradio_api/queue/join"
DOCUMENT = (
    '<html><head><meta property="og:image"\n content="https://elsewhere.example/x.jpg" /></head>'
    "<body><script>config</script></body></html>"
)


async def fake_page(scope, receive, send):
    known = HTMLResponse(DOCUMENT) if scope["path"] == "/" else PlainTextResponse("the page's own")
    await known(scope, receive, send)


async def echo(scope, receive, send):
    await PlainTextResponse((await receive())["body"])(scope, receive, send)


def client(limit=None, tab_limit=None, app=fake_page, **rules) -> TestClient:
    rules.setdefault("rewrite", lambda html, nonce: rewrite_document(html, nonce=nonce))
    guard = Guard(app, rules=Rules(**rules), limit=limit, tab_limit=tab_limit)
    return TestClient(guard, base_url="http://127.0.0.1:7860")


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/upload", "/gradio_api/file=/etc/passwd", "/file=/etc/passwd", "/gradio_api/file/etc/passwd",
        "/gradio_api/proxy=http://192.0.2.1/", "/gradio_api/runs", "/gradio_api/info", "/gradio_api/openapi.json", "/docs",
        "/gradio_api/call/ask/1", "/gradio_api/deep_link", "/monitoring", "/gradio_api/upload_progress", "/login", "/user",
        "/static/../../etc/passwd", "/assets/../index.html", "/assets/..%2f..%2fetc%2fpasswd", "/assets/a/b.js", "//etc/passwd",
        "/gradio_api/custom_component/1/client/component/x.js", "/gradio_api/vibe-code", "/gradio_api/dev/reload",
    ],
)  # fmt: skip
def test_what_the_page_does_not_ask_for_is_not_there(path):
    assert client().get(path).status_code == 404
    assert client().post(path, json={}).status_code == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_no_other_method_is_let_in(method):
    assert client().request(method, "/").status_code == 404


def test_events_come_from_the_page_alone():
    page = client()
    assert page.post(JOIN, json={}, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    assert page.post(JOIN, json={}, headers={"Origin": "http://127.0.0.1:7860"}).status_code == 200
    for foreign in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        assert page.post(JOIN, json={}, headers=foreign).status_code == 403, foreign
    assert page.post(JOIN, content="{}", headers={"Content-Type": "text/plain"}).status_code == 415


def test_a_long_message_is_refused_before_it_is_read():
    assert client().post(JOIN, json={"data": "x" * MAX_BODY_BYTES}).status_code == 413
    assert client().post(JOIN, json={"data": "x" * 2000}).status_code == 200


def test_a_message_of_unknown_length_is_refused():
    assert client().post(JOIN, content=iter([b"{}"]), headers={"Content-Type": "application/json"}).status_code == 411


def test_a_flood_from_one_address_is_held_back_with_a_clear_word():
    page = client(RateLimit(burst=3, per_s=0.1, now_s=lambda: 0.0))
    codes = [page.post(JOIN, json={}).status_code for _ in range(4)]
    assert codes == [200, 200, 200, 429]
    refused = page.post(JOIN, json={})
    assert refused.headers["retry-after"] == "11"
    assert "wait a little" in refused.text
    assert page.get("/").status_code == 200  # the page itself can still be read


def test_one_tab_that_asks_without_end_is_held_back_and_the_others_are_not():
    page = client(tab_limit=RateLimit(burst=2, per_s=1, now_s=lambda: 0.0))
    assert [page.post(JOIN, json={"session_hash": "a"}).status_code for _ in range(3)] == [200, 200, 429]
    assert page.post(JOIN, json={"session_hash": "b"}).status_code == 200
    for odd in ("[1]", "not json"):
        assert page.post(JOIN, content=odd, headers={"Content-Type": "application/json"}).status_code in (200, 429)


def test_an_event_reaches_the_page_whole():
    event = {"session_hash": "a", "data": ["x" * 2000]}
    assert client(app=echo).post(JOIN, json=event).json() == event


def test_only_known_names_are_answered_to():
    for host in ("127.0.0.1:7860", "[::1]:7860", "192.168.1.20", "localhost", "FAQ.clinic.example:80"):
        assert client(hosts=frozenset({"faq.clinic.example"})).get("/", headers={"Host": host}).status_code == 200, host
    for host in ("evil.example", "127.0.0.1.evil.example", ""):
        assert client().get("/", headers={"Host": host}).status_code == 421, host
    assert client().get("/", headers={"X-Forwarded-Host": "evil.example"}).status_code == 421


@pytest.mark.parametrize(("host", "name"), [("[::1]:80", "::1"), ("A.b.:80", "a.b"), ("1.2.3.4", "1.2.3.4"), ("", "")])
def test_a_host_header_is_read_without_its_port(host, name):
    assert host_name(host) == name


def test_a_number_that_is_no_address_is_no_known_host():
    assert not is_known_host("127.1.evil", frozenset())
    assert is_known_host("10.0.0.7", frozenset())


def test_each_document_has_a_nonce_of_its_own_and_no_link_preview():
    first, second = client().get("/"), client().get("/")
    nonces = [re.findall(r'<script nonce="([^"]+)"', answer.text) for answer in (first, second)]
    assert nonces[0] != nonces[1]
    assert f"'nonce-{nonces[0][0]}'" in first.headers["content-security-policy"]
    assert "'unsafe-inline'" not in first.headers["content-security-policy"].split("style-src")[0]
    assert "elsewhere.example" not in first.text


def test_every_response_has_the_headers_the_refused_ones_too():
    for path in ("/", "/config", "/gradio_api/upload"):
        headers = client().get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "immutable" in client().get("/assets/index-abc.js").headers["cache-control"]


def test_a_named_web_site_may_show_the_page_in_a_frame_and_no_other():
    headers = client(embed_origins=["https://www.clinic.example"]).get("/").headers
    assert "frame-ancestors https://www.clinic.example" in headers["content-security-policy"]
    assert "x-frame-options" not in headers


@pytest.mark.parametrize("query", ["view=api", "deep_link=1", "view=settings&lang=es", "q=my%20secret"])
def test_an_address_with_other_words_in_it_leads_to_the_plain_page(query):
    answer = client().get(f"/?{query}", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert client().get("/?lang=es", follow_redirects=False).status_code == 200


def test_own_files_are_served_under_their_names_alone():
    page = client(files={"/speech.js": (b"speak()", "text/javascript")})
    assert page.get("/speech.js").text == "speak()"
    assert page.get("/speech.js").headers["content-type"].startswith("text/javascript")
    assert page.post("/speech.js", json={}).status_code == 404


def test_the_limit_fills_up_again_and_forgets_the_oldest():
    clock = [0.0]
    limit = RateLimit(burst=2, per_s=0.5, most=2, now_s=lambda: clock[0])
    assert [limit.wait_s("a"), limit.wait_s("a"), limit.wait_s("a")] == [0, 0, 2]
    assert limit.wait_s("b") == 0
    clock[0] = 2.0
    assert limit.wait_s("a") == 0
    limit.wait_s("c")
    limit.wait_s("d")
    assert limit.wait_s("a") == 0  # forgotten, so it starts afresh


def test_the_document_says_whom_to_call_where_scripts_are_off():
    document = rewrite_document(DOCUMENT, nonce="n", scripts=["/own.js"], without_script="Call <911>.")
    assert "<noscript><p>Call &lt;911&gt;.</p></noscript></body>" in document
    assert document.index("/own.js") < document.index("config")


@pytest.mark.parametrize(
    "origin", ["*", "https://*.example.org", "https://a.example/path", "a.example", "'self'", "https://a b"]
)
def test_a_web_site_is_named_by_its_plain_origin(tmp_path, origin):
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump({"embed_origins": [origin]}), encoding="utf-8")
    with pytest.raises(SettingsError, match="embed_origins"):
        load_settings(tmp_path / "settings.yaml")
