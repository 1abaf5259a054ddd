"""The web server around the page: one address, strict headers, nothing stored, nothing else served."""

import socket
from collections.abc import Awaitable, Callable

import anyio.to_thread
import gradio as gr
import uvicorn
from fastapi import FastAPI, Request, Response

from chatbot.bootstrap import Service, open_service, recalibrate, reload
from chatbot.errors import SettingsError
from chatbot.page.ui import CSS, build_page
from chatbot.settings import Settings
from chatbot.staff.live import LiveService

Say = Callable[[str], None]
MAX_THREADS = 400  # a turn that waits for the model holds a thread; none may keep vetted text waiting
REFUSED = ("upload", "file=", "proxy=", "runs", "deep_link", "component_server", "stream/", "login", "vibe")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; "
        "form-action 'none'; base-uri 'self'; object-src 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def serve_page(settings: Settings, *, say: Say) -> None:
    """Serve until interrupted.

    Raises:
        SettingsError: The address cannot be listened on.
        KnowledgeError: The knowledge cannot be served safely.
    """
    with listening(settings.host, settings.port) as listener:
        say("Opening the clinic's answers …")
        service = open_service(settings, with_model=True)
        live = LiveService(service, reload, recalibrate, say=say)
        try:
            app = build_app(live)
            service.warm_up()
            _announce(service, say)
            live.start()
            config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=3)
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            live.stop()
            service.close()


def _announce(service: Service, say: Say) -> None:
    settings = service.settings
    errors = [problem for problem in service.problems if problem.severity == "error"]
    if errors:
        say(f"{len(errors)} problem(s) in the knowledge files; `healthfaq check` lists them.")
    writer = service.pipeline.writer
    model = writer.name if writer is not None else None
    say(
        f"{len(service.knowledge.answers)} answers. "
        + (f"Model: {model}." if model else "No model: vetted text alone.")
    )
    say(f"The page is at http://{settings.host}:{settings.port}  (Ctrl+C ends it)")


def listening(host: str, port: int) -> socket.socket:
    """Return a socket bound to the address.

    Raises:
        SettingsError: The port is taken or the address is not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {host}:{port} ({error.strerror}); end the program that uses it or choose another --port"
        ) from error
    return listener


def build_app(service: Service | LiveService[Service]) -> FastAPI:
    """Return the web application: the page, its headers, and a refusal for all that it does not need."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, on_startup=[_widen_thread_pool])

    @app.middleware("http")
    async def guard(request: Request, follow: Callable[[Request], Awaitable[Response]]) -> Response:
        path = request.url.path.removeprefix("/gradio_api").lstrip("/")
        if path.startswith(REFUSED):
            return Response(status_code=404, headers=HEADERS)
        response = await follow(request)
        response.headers.update(HEADERS)
        return response

    page = build_page(lambda: service.pipeline, mode=service.settings.mode)
    page.max_threads = MAX_THREADS
    mounted: FastAPI = gr.mount_gradio_app(
        app, page, path="/", server_name=service.settings.host, server_port=service.settings.port,
        footer_links=[], run_history=False, show_error=False, max_file_size="1kb", ssr_mode=False, css=CSS,
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
    )  # fmt: skip
    return mounted


async def _widen_thread_pool() -> None:
    anyio.to_thread.current_default_thread_limiter().total_tokens = MAX_THREADS
