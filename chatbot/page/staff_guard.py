"""What stands before the staff page: who may come in, and headers that let nothing but the page itself act.

Whoever sits at this machine needs no key. From elsewhere a key is asked for, which the program prints when it starts.
"""

import ipaddress
import secrets
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatbot.page.guard import FIXED_HEADERS, host_name, is_known_host

MAX_BODY_BYTES = 400 * 1024  # an answer file holds 200 kB, and a form writes some signs with three
COOKIE = "healthfaq-staff"
HEADERS = {
    **FIXED_HEADERS,
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",  # without any, browsers hide where a form comes from, which is looked at below
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Say whether an address to listen on can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def new_key() -> str:
    """Return a key that nobody can guess."""
    return secrets.token_urlsafe(24)


@dataclass(frozen=True, slots=True)
class Access:
    """Who may come in.

    Args:
        key: What a browser must bring once, as ``?key=…``; None where only this machine can reach the page.
        hosts: Names the page answers to, beside this machine's own and plain addresses.
    """

    key: str | None = None
    hosts: frozenset[str] = frozenset()


class StaffGuard:
    """Lets in staff's own browser and nothing else (ASGI)."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on to the page."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refusal = self._refusal(scope)
        await (self._app if refusal is None else refusal)(scope, receive, send_on)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if not is_known_host(host_name(headers.get("host", "")), self._access.hosts):
            return PlainTextResponse("This page does not answer to that name.", 421)
        if self._access.key is not None and (refusal := self._without_key(scope, headers, self._access.key)):
            return refusal
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return PlainTextResponse("There is nothing here.", 405)
        return self._refused_form(headers) if scope["method"] == "POST" else None

    def _without_key(self, scope: Scope, headers: Headers, key: str) -> Response | None:
        asked = QueryParams(scope["query_string"])
        if secrets.compare_digest(asked.get("key", "").encode(), key.encode()):
            rest = urlencode([(name, text) for name, text in asked.multi_items() if name != "key"])
            inside = RedirectResponse(scope["path"] + (f"?{rest}" if rest else ""), 303)
            inside.set_cookie(COOKIE, key, httponly=True, samesite="strict", secure=scope["scheme"] == "https")
            return inside
        brought = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
        if secrets.compare_digest(brought.encode(), key.encode()):
            return None
        return PlainTextResponse("Open the address with ?key=… that the program printed when it was started.", 401)

    def _refused_form(self, headers: Headers) -> Response | None:
        """Return why a form is refused: another web site's page must not act in the name of staff."""
        origin = headers.get("origin", "")
        is_own = origin.partition("://")[2] == headers.get("host") if origin else False
        if not is_own or headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return PlainTextResponse("Only the staff page itself may send this.", 403)
        length = headers.get("content-length", "")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            return PlainTextResponse("This is too long.", 413)
        return None
