"""Run a WSGI server until somebody asks the process to stop."""

from __future__ import annotations

import logging
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from werkzeug.serving import BaseWSGIServer


def until_stopped(server: BaseWSGIServer) -> None:
    """Serve in a thread; return after SIGTERM or SIGINT, when the last request is answered."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    thread = threading.Thread(target=server.serve_forever, name="http")
    thread.start()
    stopped.wait()
    server.shutdown()
    thread.join()
    server.server_close()
