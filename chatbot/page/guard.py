"""What stands before the page: which requests come in at all, and which headers every response carries.

It is plain ASGI, so that a reply that is being streamed passes through piece by piece.
"""

import ipaddress
import json
import re
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatbot.page.limits import RateLimit

MAX_BODY_BYTES = 64 * 1024  # a question has at most 2,000 characters; the rest is the page's own
BURST, PER_S = 600, 10.0  # events from one address: a waiting room behind one router, not a flood
TAB_BURST, TAB_PER_S = 60, 2.0  # events from one tab: faster than anybody types, suggestions included
JOIN = "/gradio_api/queue/join"
IMMUTABLE = "public, max-age=31536000, immutable"  # names of these files hold a hash of their content
DOCUMENT_PARAMETERS = frozenset({"__theme", "lang"})  # Gradio would open its settings and API pages by others

# All that the page asks for; everything else that Gradio's server knows is closed.
PATHS: Mapping[str, re.Pattern[str]] = {
    "GET": re.compile(
        r"/|/config|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt|/assets/[\w.-]+|"
        r"/static/(?:js/iframeResizer\.contentWindow\.min\.js|img/logo_nosize\.svg)|"
        r"/gradio_api/(?:heartbeat/\w+|queue/data|startup-events|theme\.css)"
    ),
    "POST": re.compile(rf"{JOIN}|/gradio_api/(?:run/predict|cancel|reset/?)"),
}
FIXED_HEADERS = {
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Permissions-Policy": (
        "camera=(), microphone=(), geolocation=(), payment=(), usb=(), midi=(), serial=(), hid=(), "
        "display-capture=(), browsing-topics=()"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Rules:
    """Which requests are the page's own.

    Args:
        hosts: Names the page answers to, beside this machine's name, ``localhost`` and plain addresses.
        embed_origins: Web sites that may show the page in a frame, as ``https://host``.
        files: The page's own files and what each holds: path → (content, media type).
        rewrite: Makes Gradio's document fit to leave, given the document and the nonce of its scripts.
    """

    hosts: frozenset[str] = frozenset()
    embed_origins: Sequence[str] = ()
    files: Mapping[str, tuple[bytes, str]] = field(default_factory=dict)
    rewrite: Callable[[str, str], str] = lambda html, _nonce: html


class Guard:
    """Lets in what the page asks for, and nothing else."""

    def __init__(
        self, app: ASGIApp, *, rules: Rules, limit: RateLimit | None = None, tab_limit: RateLimit | None = None
    ) -> None:
        self._app = app
        self._rules = rules
        self._limit = limit or RateLimit(burst=BURST, per_s=PER_S)
        self._tab_limit = tab_limit or RateLimit(burst=TAB_BURST, per_s=TAB_PER_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on to the page."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})  # the page uses none
            return
        nonce = secrets.token_urlsafe(16)
        refusal = self._refusal(scope)
        if refusal is None and scope["path"] == JOIN:
            body = await _read(receive)
            refusal = _too_many(self._tab_limit.wait_s(_session_of(body)))
            receive = _replayed(body, receive)
        if refusal is not None:
            self._add_headers(refusal.headers, scope["path"], nonce)
            await refusal(scope, receive, send)
            return
        if scope["path"] == "/":
            await self._document(scope, receive, send, nonce)
            return

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add_headers(MutableHeaders(scope=message), scope["path"], nonce)
            await send(message)

        await self._app(scope, receive, send_on)

    def _refusal(self, scope: Scope) -> Response | None:
        headers, path = Headers(scope=scope), scope["path"]
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        named = [headers.get("host", ""), *headers.getlist("x-forwarded-host")]  # Gradio believes the second
        if not all(is_known_host(host_name(host), self._rules.hosts) for host in named):
            return _plain("This page does not answer to that name; name it under `hosts` in the settings.", 421)
        if path in self._rules.files and method == "GET":
            content, media_type = self._rules.files[path]
            return Response(content, media_type=media_type)
        if method not in PATHS or not PATHS[method].fullmatch(path):
            return _plain("There is nothing here.", 404)
        if path == "/" and not DOCUMENT_PARAMETERS.issuperset(parse_qs(scope["query_string"].decode("latin-1"))):
            return RedirectResponse("/", 303)
        if method != "POST":
            return None
        return self._refused_event(scope, headers)

    def _refused_event(self, scope: Scope, headers: Headers) -> Response | None:
        """Return why an event of the page is refused; events of other web sites' pages always are."""
        if headers.get("sec-fetch-site", "same-origin") != "same-origin" or not self._is_own_origin(headers):
            return _plain("Only the page itself may ask here.", 403)
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return _plain("Only the page itself may ask here.", 415)
        length = headers.get("content-length", "")
        if not length.isdecimal():
            return _plain("The length of a message has to be told.", 411)
        if int(length) > MAX_BODY_BYTES:
            return _plain("This message is too long.", 413)
        client = scope.get("client")
        return _too_many(self._limit.wait_s(client[0] if client else ""))

    def _is_own_origin(self, headers: Headers) -> bool:
        if "origin" not in headers:
            return True
        name = headers["origin"].partition("://")[2]
        own = (headers.get("host"), headers.get("x-forwarded-host"))
        return name in own or host_name(name) in self._rules.hosts  # a proxy may have rewritten Host

    async def _document(self, scope: Scope, receive: Receive, send: Send, nonce: str) -> None:
        start: Message = {}
        parts: list[bytes] = []
        scope = {**scope, "headers": [row for row in scope["headers"] if row[0] != b"accept-encoding"]}

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                parts.append(message.get("body", b""))

        await self._app(scope, receive, keep)
        html = self._rules.rewrite(b"".join(parts).decode(), nonce).encode()
        headers = MutableHeaders(scope=start)
        self._add_headers(headers, "/", nonce)
        headers["Content-Length"] = str(len(html))
        await send(start)
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else html})

    def _add_headers(self, headers: MutableHeaders, path: str, nonce: str) -> None:
        headers.update(FIXED_HEADERS)
        headers["Content-Security-Policy"] = content_security_policy(nonce, self._rules.embed_origins)
        headers["Cache-Control"] = IMMUTABLE if path.startswith("/assets/") else "no-store"
        if not self._rules.embed_origins:
            headers["X-Frame-Options"] = "DENY"  # says in older browsers what frame-ancestors says


def content_security_policy(nonce: str, embed_origins: Sequence[str]) -> str:
    """Return the policy of one response.

    Scripts come from the page's own files or carry the nonce, so no text can ever become one. Two allowances are
    Gradio's: its HTML part fills its templates by ``Function`` ('unsafe-eval'; the templates are the server's, and a
    patient's or a file's words are only ever their values), and it styles by attributes and style elements.
    """
    ancestors = " ".join(embed_origins) or "'none'"
    return (
        f"default-src 'none'; script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; script-src-attr 'none'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
        f"manifest-src 'self'; base-uri 'self'; form-action 'none'; object-src 'none'; frame-ancestors {ancestors}"
    )


def host_name(host: str) -> str:
    """Return the name in a Host header, in small letters, without its port and without brackets."""
    name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    return name.casefold().rstrip(".")


def is_known_host(name: str, hosts: frozenset[str]) -> bool:
    """Say whether the page answers to this name. An address always may: only a name can be pointed elsewhere."""
    own = socket.gethostname().casefold()
    if name in hosts or name in ("localhost", own, f"{own}.local"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _too_many(wait_s: float) -> Response | None:
    if not wait_s:
        return None
    told = _plain("Too many questions came from here in a short time. Please wait a little.", 429)
    told.headers["Retry-After"] = str(int(wait_s) + 1)
    return told


async def _read(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message["type"] == "http.request" and message.get("more_body", False)
    return body


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a receive that hands out the body that was read already, and then what else comes."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


def _session_of(body: bytes) -> str:
    try:
        event = json.loads(body)
    except ValueError:  # Gradio refuses it in its own words
        return ""
    return str(event.get("session_hash", "")) if isinstance(event, dict) else ""


def _plain(text: str, status: int) -> Response:
    return PlainTextResponse(text, status)
