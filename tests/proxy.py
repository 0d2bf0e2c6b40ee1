"""A relay in front of a server: counts how often a client waits for an answer, and cuts."""

from __future__ import annotations

import re
import selectors
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

BUFFER = 65536


class Relay:
    """Carries bytes both ways for each client that connects to :attr:`port`."""

    def __init__(self, host: str, port: int) -> None:
        self.server = (host, port)
        self.round_trips = 0
        self.cut: tuple[bytes | int, str] | None = None
        """What the client says when the connection breaks, once: a pattern, in capitals, or how
        many messages come first; ``"before"`` the server gets it, or ``"after"`` it did it and
        before the client hears."""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]

    def serve(self) -> None:
        """Accept clients until the listener is closed."""
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:  # closed: the test is over
                return
            Thread(target=self.carry, args=(client,), daemon=True).start()

    def breaks(self, data: bytes) -> str:
        """Return the stage where the connection breaks at this message of a client."""
        if self.cut is None:
            return ""
        what, stage = self.cut
        if isinstance(what, int) and what > 0:
            self.cut = what - 1, stage
            return ""
        if isinstance(what, bytes) and not re.search(what, data.upper()):
            return ""
        self.cut = None
        return stage

    def carry(self, client: socket.socket) -> None:
        """Count one round trip each time the client speaks after the server did."""
        upstream = socket.create_connection(self.server)
        answered = True
        with client, upstream, selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, upstream)
            selector.register(upstream, selectors.EVENT_READ, client)
            while True:
                for key, _ in selector.select():
                    try:
                        data = key.fileobj.recv(BUFFER)  # type: ignore[union-attr]
                    except OSError:
                        data = b""
                    if not data:
                        return
                    self.round_trips += key.fileobj is client and answered
                    answered = key.fileobj is upstream
                    if key.fileobj is client and (stage := self.breaks(data)):
                        if stage == "after":
                            upstream.sendall(data)
                            upstream.recv(BUFFER)
                        return
                    key.data.sendall(data)


@contextmanager
def relay(host: str, port: int) -> Iterator[Relay]:
    """Yield a running relay in front of ``host:port``."""
    made = Relay(host, port)
    Thread(target=made.serve, daemon=True).start()
    try:
        yield made
    finally:
        made.listener.shutdown(socket.SHUT_RDWR)
        made.listener.close()
