"""Stand in front of a server and hold each message of a client back for a while.

python benchmarks/latency.py HOST PORT SECONDS      prints the port to connect to

It is a program of its own, so that it does not take the time of those whom it serves.
"""

from __future__ import annotations

import socket
import sys
import time
from threading import Thread

BUFFER = 65536


def serve(host: str, port: int, seconds: float) -> None:
    """Carry bytes for each client that connects, until this process is ended."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        server = socket.create_connection((host, port))
        for one, other, wait in ((client, server, seconds), (server, client, 0.0)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Thread(target=carry, args=(one, other, wait), daemon=True).start()


def carry(source: socket.socket, sink: socket.socket, seconds: float) -> None:
    """Hand on what *source* says, each message after *seconds*."""
    try:
        while data := source.recv(BUFFER):
            time.sleep(seconds)
            sink.sendall(data)
    except OSError:
        pass  # one of them is gone
    source.close()
    sink.close()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
