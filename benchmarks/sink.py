"""A stand-in for Agent and OTLP receiver that costs its clients as little as possible.

It runs as a process of its own, so its CPU time is nobody's, answers every request with 200 and a small
JSON body, and keeps the bodies. `GET /sink/spans` decodes them afterwards, outside every measurement, says
how many spans arrived since the last such request, and forgets them: a library that drops spans is seen.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
from typing import Any

import msgpack

_INFO = json.dumps(
    {
        "version": "7.72.0",
        "endpoints": ["/v0.3/traces", "/v0.4/traces", "/v0.5/traces", "/v1.0/traces", "/v0.6/stats"],
        "client_drop_p0s": True,
        "span_events": True,
        "peer_tags": ["db.name", "peer.service"],
        "config": {},
    },
).encode()


class Sink:
    """The received bodies; `_lock` guards them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received: list[tuple[str, bytes]] = []

    def serve(self, listener: socket.socket) -> None:
        """Answer on every connection, each in a thread, until the process is ended."""
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._answer_all, args=(connection,), daemon=True).start()

    def _answer_all(self, connection: socket.socket) -> None:
        reader = connection.makefile("rb", buffering=1 << 18)
        try:
            while line := reader.readline():
                path = line.split(b" ")[1].decode()
                body = reader.read(length) if (length := _content_length(reader)) else b""
                answer = self._answer(path, body)
                head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n\r\n"
                connection.sendall(head.encode() + answer)
        except OSError:
            pass  # the client left
        finally:
            connection.close()

    def _answer(self, path: str, body: bytes) -> bytes:
        if path == "/info":
            return _INFO
        if path == "/sink/spans":
            with self._lock:
                received, self._received = self._received, []
            return json.dumps({"spans": sum(count_spans(*one) for one in received)}).encode()
        if path.endswith("/traces"):
            with self._lock:
                self._received.append((path, body))
        return b"{}"


def _content_length(reader: Any) -> int:  # Any: BufferedReader[SocketIO]; not expressible on every Python
    """Read the rest of a request's head; return the length of its body."""
    length = 0
    while (line := reader.readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
        if name.lower() == b"transfer-encoding":
            raise OSError("chunked bodies are not supported")
    return length


def count_spans(path: str, body: bytes) -> int:
    """Return how many spans a payload holds."""
    if path == "/v1/traces":
        return _count_otlp(body)
    payload = msgpack.unpackb(body, raw=True, strict_map_key=False)
    if path == "/v1.0/traces":
        return sum(len(chunk[4]) for chunk in payload[11])
    traces = payload[1] if path == "/v0.5/traces" else payload
    return sum(map(len, traces))


def _count_otlp(body: bytes) -> int:
    """Count spans in an ExportTraceServiceRequest: field 2 of field 2 of each field 1, in protobuf's wire format."""
    count = 0
    for resource_spans in _messages(memoryview(body), 1):
        for scope_spans in _messages(resource_spans, 2):
            count += sum(1 for _ in _messages(scope_spans, 2))
    return count


def _messages(data: memoryview, wanted: int) -> Any:  # Any: iterator of memoryview
    """Yield the length-delimited values of one field."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        field, wire_type = key >> 3, key & 7
        if wire_type == 0:
            _, position = _varint(data, position)
        elif wire_type == 2:
            length, position = _varint(data, position)
            if field == wanted:
                yield data[position : position + length]
            position += length
        else:
            position += struct.calcsize("<Q" if wire_type == 1 else "<I")


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    """Return a variable-length integer and the position after it."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def main() -> None:
    """Print the port, then serve until standard input closes: the sink never outlives who started it."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    threading.Thread(target=Sink().serve, args=(listener,), daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
