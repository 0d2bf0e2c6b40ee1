"""Relays in front of a server: one counts how often a client waits for an answer, one cuts."""

from __future__ import annotations

import re
import selectors
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from threading import Lock, Thread
from typing import TypeVar

BUFFER = 65536
COMMIT = re.compile(rb"(?i)\bcommit\b")
ROLLBACK = re.compile(rb"(?i)\brollback\b")


class Relay:
    """Carries bytes both ways for each client that connects to :attr:`port`."""

    def __init__(self, host: str, port: int) -> None:
        self.server = (host, port)
        self.round_trips = 0
        self.sent = 0
        """Bytes that clients sent."""
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
                        data = key.fileobj.recv(BUFFER)  # type: ignore[union-attr]  # a socket, in this program
                    except OSError:
                        data = b""
                    if not data:
                        return
                    self.round_trips += key.fileobj is client and answered
                    self.sent += len(data) if key.fileobj is client else 0
                    answered = key.fileobj is upstream
                    if key.fileobj is client and (stage := self.breaks(data)):
                        if stage == "after":
                            upstream.sendall(data)
                            upstream.recv(BUFFER)
                        return
                    key.data.sendall(data)


Relayed = TypeVar("Relayed", bound=Relay)


@contextmanager
def relay(host: str, port: int) -> Iterator[Relay]:
    """Yield a running relay in front of ``host:port``."""
    with running(Relay(host, port)) as made:
        yield made


@contextmanager
def running(made: Relayed) -> Iterator[Relayed]:
    """Let a relay take clients for the length of a ``with`` block."""
    Thread(target=made.serve, daemon=True).start()
    try:
        yield made
    finally:
        made.listener.shutdown(socket.SHUT_RDWR)
        made.listener.close()


class Stage(Enum):
    """Where in a transaction a connection is cut."""

    BEFORE = "at the first request of a transaction"
    INSIDE = "at the fourth request of a transaction"
    REQUEST = "before COMMIT reaches the server"
    ANSWER = "after COMMIT was done, before the answer reaches the client"


class Cutter(Relay):
    """Cuts connections at one stage of their transactions, each *every*-th time.

    It reads what goes by: there must be no TLS. A connection's transactions begin with the one
    that says *mark* first: some drivers commit when they prepare a connection, and later
    transactions may send a statement's number instead of its text.
    """

    def __init__(self, host: str, port: int, stage: Stage, every: int, mark: bytes) -> None:
        super().__init__(host, port)
        self.stage = stage
        self.every = every
        self.mark = mark
        self.cuts = 0
        self._passed = 0
        self._lock = Lock()

    def carry(self, client: socket.socket) -> None:
        """Carry bytes until it is time to cut."""
        upstream = socket.create_connection(self.server)
        requests = -1  # of this transaction; below zero before the first one ended
        marked = committing = drop = False
        with client, upstream, selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, upstream)
            selector.register(upstream, selectors.EVENT_READ, client)
            while True:
                for key, _ in selector.select():
                    try:
                        data = key.fileobj.recv(BUFFER)  # type: ignore[union-attr]  # a socket, in this program
                    except OSError:
                        data = b""
                    if not data:
                        return
                    if key.fileobj is client:
                        marked = marked or self.mark in data
                        committing = marked and COMMIT.search(data) is not None
                        # what a pool does to a connection that comes back is no transaction
                        requests += requests >= 0 and not ROLLBACK.search(data)
                        cut = self._is_reached(requests, committing=committing) and self._is_due()
                        drop = cut and self.stage is Stage.ANSWER
                    else:
                        requests = 0 if committing else requests
                        cut = drop
                    if cut and (drop is (key.fileobj is upstream)):
                        self._cut(client)
                        return
                    with suppress(OSError):  # the other side is gone, which the next round sees
                        key.data.sendall(data)

    def _is_reached(self, requests: int, *, committing: bool) -> bool:
        match self.stage:
            case Stage.BEFORE:
                return requests == 1
            case Stage.INSIDE:
                return requests == 4
            case _:
                return committing

    def _is_due(self) -> bool:
        with self._lock:
            self._passed += 1
            return self._passed % self.every == 0

    def _cut(self, client: socket.socket) -> None:
        """Every other time as a firewall does it, with a reset instead of an end."""
        with self._lock:
            self.cuts += 1
            reset = self.cuts % 2
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
