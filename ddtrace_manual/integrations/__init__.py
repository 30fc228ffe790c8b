"""Opt-in helpers for what surrounds traced code: clients, servers, queues, threads, tasks, log records, signals.

Nothing here patches anything. A name is imported from its module when it is first used. `import *` and `dir()` give
those whose library is installed.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._aiohttp import aiohttp_trace_config
    from ._asgi import AsgiMiddleware
    from ._celery import connect_celery, disconnect_celery
    from ._futures import (
        ContextExecutor,
        ContextProcessPoolExecutor,
        ContextThread,
        ContextThreadPoolExecutor,
        create_linked_task,
        run_in_executor,
        wrap,
        wrap_for_process,
    )
    from ._grpc import GrpcClientInterceptor, GrpcServerInterceptor
    from ._httpx import AsyncTracedHttpxTransport, TracedHttpxTransport
    from ._logging import (
        BraceFormatter,
        LogFilter,
        install_log_record_factory,
        log_fields,
        loguru_patcher,
        structlog_processor,
        uninstall_log_record_factory,
    )
    from ._messaging import message_carrier, producer_headers, traced_consumer, traced_producer
    from ._requests import TracedRequestsAdapter, traced_requests_session
    from ._signals import shutdown_on_signals
    from ._urllib import TracedUrllibOpener, traced_urllib_opener
    from ._wsgi import WsgiMiddleware

__all__ = [
    "AsgiMiddleware",
    "AsyncTracedHttpxTransport",
    "BraceFormatter",
    "ContextExecutor",
    "ContextProcessPoolExecutor",
    "ContextThread",
    "ContextThreadPoolExecutor",
    "GrpcClientInterceptor",
    "GrpcServerInterceptor",
    "LogFilter",
    "TracedHttpxTransport",
    "TracedRequestsAdapter",
    "TracedUrllibOpener",
    "WsgiMiddleware",
    "aiohttp_trace_config",
    "connect_celery",
    "create_linked_task",
    "disconnect_celery",
    "install_log_record_factory",
    "log_fields",
    "loguru_patcher",
    "message_carrier",
    "producer_headers",
    "run_in_executor",
    "shutdown_on_signals",
    "structlog_processor",
    "traced_consumer",
    "traced_producer",
    "traced_requests_session",
    "traced_urllib_opener",
    "uninstall_log_record_factory",
    "wrap",
    "wrap_for_process",
]

_MODULES = {
    "._aiohttp": ("aiohttp_trace_config",),
    "._asgi": ("AsgiMiddleware",),
    "._celery": (
        "connect_celery",
        "disconnect_celery",
    ),
    "._futures": (
        "ContextExecutor",
        "ContextProcessPoolExecutor",
        "ContextThread",
        "ContextThreadPoolExecutor",
        "create_linked_task",
        "run_in_executor",
        "wrap",
        "wrap_for_process",
    ),
    "._grpc": (
        "GrpcClientInterceptor",
        "GrpcServerInterceptor",
    ),
    "._httpx": (
        "AsyncTracedHttpxTransport",
        "TracedHttpxTransport",
    ),
    "._logging": (
        "BraceFormatter",
        "LogFilter",
        "install_log_record_factory",
        "log_fields",
        "loguru_patcher",
        "structlog_processor",
        "uninstall_log_record_factory",
    ),
    "._messaging": (
        "message_carrier",
        "producer_headers",
        "traced_consumer",
        "traced_producer",
    ),
    "._requests": (
        "TracedRequestsAdapter",
        "traced_requests_session",
    ),
    "._signals": ("shutdown_on_signals",),
    "._urllib": (
        "TracedUrllibOpener",
        "traced_urllib_opener",
    ),
    "._wsgi": ("WsgiMiddleware",),
}
_LIBRARIES = {"._aiohttp": "aiohttp", "._celery": "celery", "._grpc": "grpc", "._httpx": "httpx"}
"""What a module cannot be imported without, where that is no dependency of this library."""


def _is_installed(library: str) -> bool:
    try:
        return find_spec(library) is not None
    except ValueError:  # somebody put a module without a specification in its place: it can be imported
        return True


if not TYPE_CHECKING:  # type checkers know all names
    _absent = [module for module, library in _LIBRARIES.items() if not _is_installed(library)]
    __all__ = [name for name in __all__ if not any(name in _MODULES[module] for module in _absent)]

_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names that can be imported, whether they were or not."""
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
