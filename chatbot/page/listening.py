"""The address that a page is served at."""

import socket

from chatbot.errors import SettingsError


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
