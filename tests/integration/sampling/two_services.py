"""The two services of the end-to-end test, each a process: `back` answers requests, `front` makes them.

    python two_services.py back REPORT          prints its port; ends when its only client leaves
    python two_services.py front REPORT PORT COUNT

Each writes to the file REPORT, as JSON, what it did: an independent account of what the Agent must have got.
"""

import http.client
import json
import socket
import sys
from pathlib import Path

import ddtrace_manual as dd

ERROR_EVERY = 40
ROUTES = ("/orders", "/items", "/users")


def duration_ns(span):
    """Return what the span lasted, as it will be reported."""
    return span.end_ns - span.start_ns


def back(report):
    """Answer requests of one connection: every fortieth with an error."""
    dd.configure(service="back", env="e2e")
    account = {"durations": {}, "errors": []}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, connection.makefile("rb") as reader:
        while line := reader.readline():
            path = line.split(b" ")[1].decode()
            headers = dict(http.client.parse_headers(reader).items())
            route = path.rpartition("/")[0]
            with dd.continue_trace(headers), dd.span("http.server", resource=f"GET {route}", kind="server") as span:
                span.set_tag("http.route", route)
                with dd.span("work"):
                    failed = int(headers["x-number"]) % ERROR_EVERY == 0
                if failed:
                    span.set_error(type="OutOfStock", message="none left")
            if failed:
                account["errors"].append(span.trace_id)
            account["durations"].setdefault(f"GET {route} {'error' if failed else 'ok'}", []).append(duration_ns(span))
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
    Path(report).write_text(json.dumps(account))


def front(report, port, count):
    """Make requests, each in a trace of its own."""
    dd.configure(service="front", env="e2e")
    account = {"trace_ids": [], "durations": {"page": [], "call": []}}
    connection = http.client.HTTPConnection("127.0.0.1", int(port))
    for number in range(int(count)):
        with dd.span("page", resource="GET /shop") as page:
            with dd.span("http.client", resource="GET", kind="client") as call:
                headers = dd.inject({"x-number": str(number)})
                connection.request("GET", f"{ROUTES[number % len(ROUTES)]}/{number}", headers=headers)
                connection.getresponse().read()
            account["durations"]["call"].append(duration_ns(call))
        account["durations"]["page"].append(duration_ns(page))
        account["trace_ids"].append(page.trace_id)
    connection.close()
    Path(report).write_text(json.dumps(account))


if __name__ == "__main__":
    {"front": front, "back": back}[sys.argv[1]](*sys.argv[2:])
