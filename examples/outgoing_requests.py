"""Requests sent with four clients; each is a client span and carries the trace."""

import asyncio
import http.server
import threading

import ddtrace_manual as dd

dd.configure(service="shop", env="dev", version="1.0")


def with_requests(url: str) -> None:
    # --8<-- [start:requests]
    from ddtrace_manual.integrations import traced_requests_session

    with traced_requests_session() as session:  # or traced_requests_session(my_session)
        session.get(url, timeout=10)
    # --8<-- [end:requests]


def with_httpx(url: str) -> None:
    # --8<-- [start:httpx]
    import httpx

    from ddtrace_manual.integrations import TracedHttpxTransport

    with httpx.Client(transport=TracedHttpxTransport()) as client:  # AsyncTracedHttpxTransport for AsyncClient
        client.get(url)
    # --8<-- [end:httpx]


async def with_aiohttp(url: str) -> None:
    # --8<-- [start:aiohttp]
    import aiohttp

    from ddtrace_manual.integrations import aiohttp_trace_config

    async with aiohttp.ClientSession(trace_configs=[aiohttp_trace_config()]) as session, session.get(url) as answer:
        await answer.read()
    # --8<-- [end:aiohttp]


def with_urllib(url: str) -> None:
    # --8<-- [start:urllib]
    from ddtrace_manual.integrations import traced_urllib_opener

    opener = traced_urllib_opener()
    with opener.open(url, timeout=10) as answer:
        answer.read()
    # --8<-- [end:urllib]


def with_options(url: str) -> None:
    # --8<-- [start:options]
    from ddtrace_manual.integrations import traced_requests_session

    def name(span: dd.Span, _request: object) -> None:
        span.resource = "GET /stock/{item}"

    session = traced_requests_session(
        service="stock",
        propagate=lambda url: url.startswith("http://127.0.0.1"),  # our own services only
        on_request=name,
    )
    session.get(url, timeout=10)
    session.close()
    # --8<-- [end:options]


class Service(http.server.BaseHTTPRequestHandler):
    """Prints the span that called it."""

    def do_GET(self) -> None:
        print(f"called by span {self.headers['x-datadog-parent-id']}")
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def main() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/stock/lamp?token=secret"
        with dd.span("checkout"):
            with_requests(url)
            with_httpx(url)
            asyncio.run(with_aiohttp(url))
            with_urllib(url)
            with_options(url)
        server.shutdown()
        thread.join()


if __name__ == "__main__":
    main()
