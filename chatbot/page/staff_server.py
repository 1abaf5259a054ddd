"""Serves the staff page beside the patients' one, on an address of its own; patients are served without it too."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from chatbot.bootstrap import Service
from chatbot.errors import SettingsError
from chatbot.page.listening import listening
from chatbot.page.staff import build_staff_app
from chatbot.page.staff_guard import Access, is_loopback, new_key
from chatbot.staff.gaps import GapRecord
from chatbot.staff.live import LiveService

Say = Callable[[str], None]


@contextmanager
def staff_page(live: LiveService[Service], record: GapRecord | None, *, say: Say) -> Iterator[None]:
    """Serve the staff page while the block runs; without a free address say so and go on without it."""
    settings = live.settings
    if not settings.staff_port:
        yield
        return
    try:
        listener = listening(settings.staff_host, settings.staff_port)
    except SettingsError as error:
        say(f"No staff page: {str(error).replace('--port', 'staff_port in the settings')}")
        yield
        return
    key = None if is_loopback(settings.staff_host) else new_key()
    app = build_staff_app(live, record, Access(key, frozenset(settings.hosts)))
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=3)
    server = uvicorn.Server(config)
    with listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="staff-page", daemon=True)
        thread.start()
        address = f"http://{settings.staff_host}:{settings.staff_port}"
        say(f"The staff page is at {address}" + (f"/?key={key}  (give it to staff alone)" if key else ""))
        try:
            yield
        finally:
            server.should_exit = True
            thread.join(timeout=10)
