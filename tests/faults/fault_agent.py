"""An Agent on a real socket that misbehaves on command.

It counts a span as accepted when it has read the whole payload and means to say so: what a client
sends again after that is a duplicate.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections import Counter

import msgpack

INFO = json.dumps({"version": "7.70.0", "endpoints": ["/v0.4/traces"]}).encode()
RATES = b'{"rate_by_service": {"service:,env:": 1.0}}'


class FaultAgent:
    """Answers on one port, which it keeps over restarts.

    Attributes:
        accepted: How often each span (its `seq` tag) was accepted.
        spans: Each of them, as it came last.
        requests: Trace requests begun.
        keeps_spans: Otherwise spans, and payloads that came twice, are only counted.
    """

    def __init__(self, *, mode="ok"):
        self.accepted = Counter()
        self.spans = {}
        self.keeps_spans = True
        self.accepted_spans = 0
        self.doubled_payloads = 0
        self._digests = set()
        self.requests = 0
        self.connections = 0
        self._lock = threading.Lock()
        self._answering = threading.Lock()
        self._open = set()
        self._stopped = threading.Event()
        self._listener = None
        self._mode = "ok"
        self._port = 0
        self._listen()
        self.port = self._port
        self.set_mode(mode)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def set_mode(self, mode):
        """Behave like this from the next connection on; `absent` and `restart` close the listener."""
        self._mode = mode
        if mode in ("absent", "restart"):
            self._unlisten()
        elif self._listener is None:
            self._listen()

    def close(self):
        """Stop, and close every connection."""
        self._stopped.set()
        self._unlisten()

    # -- connections ---------------------------------------------------------------------------------

    def _listen(self):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # small, so that it can be filled
        listener.bind(("127.0.0.1", self._port))
        listener.listen(64)
        self._port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _unlisten(self):
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept()
            listener.close()
        with self._lock:
            connections = list(self._open)
        with self._answering:  # what was accepted is answered: otherwise the client had to send it again
            for connection in connections:
                reset(connection)

    def _accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with self._lock:
            self._open.add(connection)
        try:
            connection.settimeout(30)
            self._behave(connection, self._mode)
        except (OSError, ValueError):
            pass
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    # -- behaviour -----------------------------------------------------------------------------------

    def _behave(self, connection, mode):
        if mode == "fills":
            self._hold(connection)
            return
        if mode == "resets":
            connection.recv(300)
            reset(connection)
            return
        path, body = read_request(connection)
        if path.endswith("/traces"):
            with self._lock:
                self.requests += 1
        getattr(self, "_" + mode)(connection, path, body)

    def _hold(self, connection):
        """Keep the connection open until the client gives up or this Agent ends."""
        while not self._stopped.wait(0.05):
            if connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"" if readable(connection) else False:
                return

    def _answer(self, connection, path, body):
        return answer(200, RATES if self._accept_payload(path, body) else INFO)

    def _accept_payload(self, path, body):
        if not path.endswith("/traces"):
            return False
        if not self.keeps_spans:
            self._accept_counting(body)
            return True
        spans = [span for chunk in msgpack.unpackb(body, strict_map_key=False) for span in chunk]
        with self._lock:
            for span in spans:
                seq = span["meta"]["seq"]
                self.accepted[seq] += 1
                self.spans[seq] = span
        return True

    def _accept_counting(self, body):
        """Accept cheaply: count spans and payloads seen before."""
        count = body.count(b"\xa8trace_id")
        digest = hash(body)
        with self._lock:
            self.accepted_spans += count
            self.doubled_payloads += digest in self._digests
            self._digests.add(digest)

    def _ok(self, connection, path, body):
        with self._answering:
            connection.sendall(self._answer(connection, path, body))

    def _only_v04(self, connection, path, body):
        if path in ("/v0.4/traces", "/info"):
            self._ok(connection, path, body)
        else:
            connection.sendall(answer(404, b""))

    def _silent(self, connection, path, body):
        self._hold(connection)

    def _late(self, connection, path, body):
        time.sleep(1)
        self._ok(connection, path, body)

    def _too_late(self, connection, path, body):
        reply = self._answer(connection, path, body)
        time.sleep(3)
        connection.sendall(reply)

    def _half_closes(self, connection, path, body):
        connection.shutdown(socket.SHUT_WR)
        time.sleep(0.05)

    def _rubbish(self, connection, path, body):
        connection.sendall(b"\x00\xff not HTTP at all\r\n\r\n")

    def _wrong_length(self, connection, path, body):
        reply = self._answer(connection, path, body)
        connection.sendall(reply.replace(b"Content-Length: ", b"Content-Length: 9"))

    def _redirects(self, connection, path, body):
        connection.sendall(answer(302, b"", f"Location: http://127.0.0.1:{self.port}/elsewhere"))

    def _trickles(self, connection, path, body):
        for byte in self._answer(connection, path, body):
            connection.sendall(bytes((byte,)))
            time.sleep(0.005)

    def _busy(self, connection, path, body):
        connection.sendall(answer(429, b""))

    def _busy_for_a_second(self, connection, path, body):
        connection.sendall(answer(429, b"", "Retry-After: 1"))

    def _fails(self, connection, path, body):
        connection.sendall(answer(500, b"internal error"))


def readable(connection):
    """Say whether something, or the end, can be read."""
    import select

    return bool(select.select([connection], [], [], 0)[0])


def answer(status, body, *fields):
    """Return an HTTP response."""
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close", *fields]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def read_request(connection):
    """Return path and body of a request."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            raise ValueError("no complete request")
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *fields = head.decode("latin-1").split("\r\n")
    lengths = [int(field.split(":")[1]) for field in fields if field.lower().startswith("content-length")]
    pieces, missing = [body], (lengths or [0])[0] - len(body)
    while missing > 0:
        piece = connection.recv(min(missing, 1 << 16))
        if not piece:
            raise ValueError("no complete request")
        pieces.append(piece)
        missing -= len(piece)
    return first.split()[1], b"".join(pieces)


def reset(connection):
    """Close a connection with a reset."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RD)
        connection.close()
