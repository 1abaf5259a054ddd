"""The web server around the page: one address, everything but the page closed; see ``guard.py``."""

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

import anyio.to_thread
import gradio as gr
import uvicorn
from fastapi import FastAPI

from chatbot.bootstrap import Service, open_service, recalibrate, reload
from chatbot.explain import explain, explanation_html
from chatbot.page.document import rewrite_document
from chatbot.page.guard import Guard, Rules
from chatbot.page.listening import listening
from chatbot.page.staff_server import staff_page
from chatbot.page.ui import CSS, build_page
from chatbot.pipeline import Event
from chatbot.settings import Settings
from chatbot.staff.gaps import open_gaps
from chatbot.staff.live import LiveService

Say = Callable[[str], None]
MAX_THREADS = 400  # a turn that waits for the model holds a thread; none may keep vetted text waiting
OWN_SCRIPTS = ("connection.js", "conversation.js")  # files beside this one, loaded before anything else of the page
PRINT_STYLE = "/print.css"


def serve_page(settings: Settings, *, say: Say) -> None:
    """Serve until interrupted.

    Raises:
        SettingsError: The address cannot be listened on.
        KnowledgeError: The knowledge cannot be served safely.
    """
    with listening(settings.host, settings.port) as listener:
        say("Opening the clinic's answers …")
        gaps = settings.gaps
        record = open_gaps(gaps.url, settings.state, keep_days=gaps.keep_days) if gaps.record else None
        service = open_service(settings, with_model=True, gaps=record)
        live = LiveService(service, reload, recalibrate, say=say)
        try:
            app = build_app(live)
            service.warm_up()
            _announce(service, say)
            live.start()
            config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=3)
            with staff_page(live, record, say=say):
                uvicorn.Server(config).run(sockets=[listener])
        finally:
            live.stop()
            service.close()
            if record is not None:
                record.close()


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
    for origin in settings.embed_origins:
        say(f"To embed it in {origin}: {embed_snippet('THE-ADDRESS-OF-THIS-PAGE', service.knowledge.clinic.name)}")


def embed_snippet(address: str, name: str) -> str:
    """Return the one line of HTML that shows the page in a web site; it works only where ``embed_origins`` says so."""
    return f'<iframe src="{escape(address)}" title="{escape(name)}" style="width:100%;height:45rem;border:0"></iframe>'


def build_app(service: Service | LiveService[Service]) -> Guard:
    """Return the web application: the page behind its guard, and nothing else."""
    settings = service.settings
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, on_startup=[_widen_thread_pool])
    page = build_page(
        lambda: service.pipeline, mode=settings.mode, idle_s=60 * settings.idle_minutes,
        why=_explained(service) if settings.explain else None,
    )  # fmt: skip
    page.max_threads = MAX_THREADS
    mounted: FastAPI = gr.mount_gradio_app(
        app, page, path="/", server_name=settings.host, server_port=settings.port,
        footer_links=[], run_history=False, show_error=False, max_file_size="1kb", ssr_mode=False, css=CSS,
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
    )  # fmt: skip
    return Guard(mounted, rules=_rules(service, settings))


def _rules(service: Service | LiveService[Service], settings: Settings) -> Rules:
    scripts = tuple(f"/{name}" for name in OWN_SCRIPTS)
    files = {path: (_beside(path), "text/javascript") for path in scripts}
    files[PRINT_STYLE] = (_beside(PRINT_STYLE), "text/css")

    def rewrite(document: str, nonce: str) -> str:
        clinic = service.pipeline.knowledge.clinic
        call = f"Call {clinic.phone}, or in an emergency {clinic.emergency_number}."
        notice = f"{clinic.name}: this page needs JavaScript. {call}"
        return rewrite_document(document, nonce=nonce, scripts=scripts, print_style=PRINT_STYLE, without_script=notice)

    return Rules(frozenset(settings.hosts), settings.embed_origins, files, rewrite)


def _beside(path: str) -> bytes:
    return Path(__file__).with_name(path.removeprefix("/")).read_bytes()


def _explained(service: Service | LiveService[Service]) -> Callable[[Sequence[Event]], str]:
    """Return what says why a turn ended as it did, by the rules and answers of this moment."""

    def why(events: Sequence[Event]) -> str:
        state = service.state if isinstance(service, LiveService) else service
        return explanation_html(explain(events, knowledge=state.knowledge, rules=state.parts.gate.rules))

    return why


async def _widen_thread_pool() -> None:
    anyio.to_thread.current_default_thread_limiter().total_tokens = MAX_THREADS
