"""A line between browser and server that a test can cut, as a router does that is switched off."""

import contextlib
import socket
import threading


class Wire:
    """Passes connections on to a port of loopback. ``cut`` ends them all and lets none in until ``mend``."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._is_cut = False
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()

    def cut(self) -> None:
        """End every connection now, and every new one at once."""
        self._is_cut = True
        for one in list(self._open):
            _end(one)

    def mend(self) -> None:
        """Let connections through again."""
        self._is_cut = False

    def close(self) -> None:
        """End the line for good."""
        self.cut()
        _end(self._listener)

    def _listen(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                browser, _ = self._listener.accept()
                threading.Thread(target=self._join, args=(browser,), daemon=True).start()

    def _join(self, browser: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._to), timeout=5)
        except OSError:
            _end(browser)
            return
        server.settimeout(None)
        self._open |= {browser, server}
        if self._is_cut:
            _end(browser)
            _end(server)
        for one, other in ((browser, server), (server, browser)):
            threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):  # cut
            while piece := one.recv(65536):
                other.sendall(piece)
        for end in (one, other):
            _end(end)
            self._open.discard(end)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):  # already ended
        one.shutdown(socket.SHUT_RDWR)
    one.close()
