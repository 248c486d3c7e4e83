"""A wire between a client and a real server, on loopback: it passes everything on, and can be told to do harm."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple
from urllib.parse import urlsplit


class Request(NamedTuple):
    """One request as it came, and how many came before it."""

    method: str
    path: str
    raw: bytes
    number: int

    @property
    def imports(self) -> bool:
        return self.method == "POST" and self.path.endswith("/import")


Ask = Callable[[], bytes]  # sends the request on; gives the whole answer, or what there was of it
Rule = Callable[[Request, Ask], "bytes | Iterable[bytes]"]


def answer(status: int, body: str = "{}", kind: str = "application/json", **more: str) -> bytes:
    """A whole answer; ``more`` headers have underscores in their names instead of hyphens."""
    lines = [f"HTTP/1.1 {status} Told", f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
    return ("\r\n".join([*lines, "", ""]) + body).encode()


def trickle(piece: bytes, pause: float = 0.3) -> Iterator[bytes]:
    """An answer that never ends."""
    yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\nConnection: close\r\n\r\n"
    while True:
        time.sleep(pause)
        yield piece


class Wire:
    """``url`` is where the client turns to; ``rule`` says what becomes of a request, ``seen`` has all of them."""

    def __init__(self, server: str) -> None:
        self.server = urlsplit(server)
        self.seen: list[Request] = []
        self.statuses: list[int] = []
        self.rule: Rule = lambda request, ask: ask()
        self._door = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._door.getsockname()[1]}"
        threading.Thread(target=self._open, daemon=True).start()

    def _open(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=self._door.accept()[:1], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            raw = _request(client)
            method, path, _ = raw.partition(b"\r\n")[0].decode().split(" ", 2)
            request = Request(method, path.partition("?")[0], raw, len(self.seen))
            self.seen.append(request)
            given = self.rule(request, lambda: self._ask(raw))
            for piece in [given] if isinstance(given, bytes) else given:
                client.sendall(piece)

    def _ask(self, raw: bytes) -> bytes:
        """The server's answer; nothing, or a part of it, if the server goes away."""
        found = b""
        with suppress(OSError), socket.create_connection((self.server.hostname, self.server.port)) as server:
            server.sendall(raw)
            while piece := server.recv(1 << 20):
                found += piece
        if found:
            self.statuses.append(int(found.split(b" ", 2)[1]))
        return found

    def close(self) -> None:
        self._door.close()


def _request(client: socket.socket) -> bytes:
    raw = b""
    while b"\r\n\r\n" not in raw:
        raw += _piece(client)
    head = raw.partition(b"\r\n\r\n")[0]
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    whole = len(head) + 4 + (int(lengths[0]) if lengths else 0)
    pieces, held = [raw], len(raw)
    while held < whole:
        pieces.append(_piece(client))
        held += len(pieces[-1])
    return b"".join(pieces)


def _piece(client: socket.socket) -> bytes:
    piece = client.recv(1 << 20)
    if not piece:
        raise ConnectionResetError
    return piece


@contextmanager
def told(said: Callable[[Request], bytes | Iterable[bytes]]) -> Iterator[Wire]:
    """A server that says what it is told to."""
    with wire_to("http://127.0.0.1:9") as wire:
        wire.rule = lambda request, ask: said(request)
        yield wire


@contextmanager
def wire_to(server: str) -> Iterator[Wire]:
    wire = Wire(server)
    try:
        yield wire
    finally:
        wire.close()
