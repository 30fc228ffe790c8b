"""Run a WSGI server until somebody asks the process to stop."""

from __future__ import annotations

import logging
import signal
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from werkzeug.serving import BaseWSGIServer


def until_stopped(server: BaseWSGIServer) -> None:
    """Serve in a thread; return after SIGTERM or SIGINT, when the last request is answered."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    # No threading.Event: its lock may be held by the very `wait` that the handler interrupts.
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: asked.append(received))
    thread = threading.Thread(target=server.serve_forever, name="http")
    thread.start()
    while not asked:
        time.sleep(0.1)
    server.shutdown()
    thread.join()
    server.server_close()
