"""Why the Agent gave no answer, from the error of the operating system, and what to do about it.

Source: spec/trace-export.md §4.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from ddtrace_manual._agent import find_entity
from ddtrace_manual.exceptions import AgentResponseError, AgentTimeoutError

from .findings import Finding, problem

__all__ = ["explain_no_answer"]

_UNIX: Final = "unix://"
_START_AGENT: Final = (
    "Start the Agent on that host, with `apm_config.enabled: true`, or name another address with DD_TRACE_AGENT_URL,"
    " or DD_AGENT_HOST and DD_TRACE_AGENT_PORT."
)
_IN_CONTAINER: Final = (
    " This process runs in a container, where localhost is the container itself: set DD_AGENT_HOST to the host of the"
    " Agent (in Kubernetes `status.hostIP`), and let the Agent accept other hosts (DD_APM_NON_LOCAL_TRAFFIC=true)."
)
_OWN_SOCKET: Final = "Name the socket that `apm_config.receiver_socket` of the Agent names, usually apm.socket."


def explain_no_answer(error: BaseException, url: str, timeout_s: float) -> Finding:
    """Return what stands between this process and the Agent.

    Args:
        error: What a request raised, with its causes.
        url: Address of the Agent, without credentials.
        timeout_s: How long the request was given, in seconds.
    """
    cause = _root_cause(error)
    if url.startswith(_UNIX):
        return _socket_trouble(cause, url.removeprefix(_UNIX))
    where = url.partition("://")[2].partition("/")[0]
    for kind, explain in _NETWORK_TROUBLES:
        if isinstance(cause, kind):
            return explain(cause, where)
    if isinstance(error, AgentTimeoutError):
        return problem(
            f"No answer from {where} within {timeout_s:g} s",
            "A firewall may drop the packets, the address may be another machine's, or the Agent is overloaded: try"
            f" `curl -v {url}/info` from here. DD_TRACE_AGENT_TIMEOUT_SECONDS allows more time." + _container(where),
        )
    if isinstance(error, AgentResponseError):
        return problem(
            f"What answers at {where} does not speak HTTP: {error}",
            "Something else listens on that port. The Agent takes traces on 8126 unless `apm_config.receiver_port`"
            " says otherwise; 8125 is DogStatsD, 4317 and 4318 are OTLP.",
        )
    return problem(f"No connection to {where}: {error}", _START_AGENT + _container(where))


def _unknown_host(cause: Any, where: str) -> Finding:  # Any: errors differ in their attributes, here and below
    return problem(
        f"The host of {where} is unknown: {cause.strerror}",
        "Correct DD_AGENT_HOST or DD_TRACE_AGENT_URL, or the name service of this host or container.",
    )


def _refused(_: Any, where: str) -> Finding:
    return problem(f"Nothing listens at {where}: the connection was refused", _START_AGENT + _container(where))


def _insecure(cause: Any, where: str) -> Finding:
    return problem(
        f"No secure connection to {where}: {cause.reason or cause}",
        "The Agent itself speaks plain http://. What speaks TLS in front of it needs a certificate trusted here, by the"
        " system or by SSL_CERT_FILE.",
    )


_NETWORK_TROUBLES: Final[tuple[tuple[type[OSError], Callable[[Any, str], Finding]], ...]] = (
    (socket.gaierror, _unknown_host),
    (ConnectionRefusedError, _refused),
    (ssl.SSLError, _insecure),
)


def _socket_trouble(cause: BaseException, path: str) -> Finding:
    """Return why a Unix socket cannot be used."""
    if isinstance(cause, PermissionError):
        return problem(f"No permission to use the socket {path}: {_permissions(path)}", _permission_advice(path))
    if isinstance(cause, FileNotFoundError):
        return problem(
            f"There is no socket {path}",
            "Is the Agent running, with `apm_config.receiver_socket` set to this path? In a container the directory of"
            " the socket must be mounted from the host, the directory and not the socket itself.",
        )
    if _is_other_file(path):
        return problem(f"{path} is not a socket", _OWN_SOCKET)
    if isinstance(cause, OSError) and cause.errno == errno.EPROTOTYPE:
        return problem(f"{path} is a datagram socket, perhaps that of DogStatsD", _OWN_SOCKET)
    if isinstance(cause, ConnectionRefusedError):
        return problem(
            f"Nobody listens on the socket {path}: it is left over from an Agent that ended",
            "Start the Agent. In a container, mount the directory of the socket, not the socket: a mounted socket is"
            " never replaced when the Agent restarts.",
        )
    return problem(f"The socket {path} cannot be used: {cause}", "Look at the Agent's log and its `apm_config`.")


def _permissions(path: str) -> str:
    """Return who this process is and what stands in its way: the socket, or a directory above it."""
    me = f"this process is user {os.geteuid()}, group {os.getegid()}"
    blocked = _blocked_directory(path)
    try:
        status = Path(blocked or path).stat()
    except OSError:
        return me
    owner = f"user {status.st_uid}, group {status.st_gid}, mode {stat.filemode(status.st_mode)}"
    return f"{me}; {f'the directory {blocked}' if blocked else 'the socket'} has {owner}"


def _permission_advice(path: str) -> str:
    if _blocked_directory(path):
        return "Give this user the right to enter that directory (x), for example by a common group."
    return (
        "Connecting needs the right to write. Run as a member of the socket's group, or change its mode; the Agent"
        " makes its socket with mode 0722. In a container, check the user (`runAsUser`) and SELinux or AppArmor too."
    )


def _blocked_directory(path: str) -> str:
    """Return the outermost directory above `path` that this user may not enter; "" for none."""
    above = reversed(Path.cwd().joinpath(path).parents)
    return next((str(directory) for directory in above if not os.access(directory, os.X_OK)), "")


def _is_other_file(path: str) -> bool:
    try:
        return not stat.S_ISSOCK(Path(path).stat().st_mode)
    except OSError:
        return False


def _root_cause(error: BaseException) -> BaseException:
    """Return the innermost error of the operating system behind it, if there is one."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    return next((each for each in reversed(chain) if isinstance(each, OSError)), chain[-1])


def _container(where: str) -> str:
    """Return a hint about containers, in one, when the address is that of this host."""
    is_local = where.startswith(("localhost", "127.", "[::1]"))
    return _IN_CONTAINER if is_local and _is_in_container() else ""


def _is_in_container() -> bool:
    return bool(find_entity().container_id) or Path("/.dockerenv").exists()
