"""Real servers on loopback, started in a thread for the length of a `with` block."""

from __future__ import annotations

import contextlib
import socket
import threading
import wsgiref.simple_server

import pytest


class _SilentHandler(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *_):
        """Stay silent."""


@contextlib.contextmanager
def _serve_wsgi(app):
    server = wsgiref.simple_server.make_server("127.0.0.1", 0, app, handler_class=_SilentHandler)
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def _serve_asgi(app):
    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0))
    started = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets=sockets)
            started.set()

    config = uvicorn.Config(app, log_level="critical", lifespan="off", ws="wsproto", timeout_graceful_shutdown=5)
    server = Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert started.wait(20)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture
def serve_wsgi():
    """Serve a WSGI application; all its requests are over when the block ends."""
    return _serve_wsgi


@pytest.fixture
def serve_asgi():
    """Serve an ASGI application with uvicorn; all its requests are over when the block ends."""
    return _serve_asgi
