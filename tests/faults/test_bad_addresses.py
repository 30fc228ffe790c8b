"""Addresses of the Agent that cannot work, as a user gives them: one clear line, and a program that runs and ends well."""

from __future__ import annotations

import http.server
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = [pytest.mark.integration]

# Configured once before the program stops being root, so that all is imported: nobody may be unable to read our files.
PROGRAM = """
import os, sys, time
import ddtrace_manual as dd
url = sys.argv[1]
if sys.argv[2] == "as nobody" and os.geteuid() == 0:
    dd.configure(trace_startup_logs=False)
    import ddtrace_manual._agent.exchange
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
dd.configure(service="x", remote_configuration_enabled=False, **({"agent_url": url} if url else {}))
begin = time.monotonic()
for number in range(3):
    with dd.span("s") as span:
        span.set_tag("seq", str(number))
assert time.monotonic() - begin < 1.0
"""
LONGEST_S = 8.0
IS_UNIX = hasattr(socket, "AF_UNIX") and hasattr(os, "setuid")


def run(url, environ, *, user=""):
    """Run a program that makes three spans; return what it wrote to standard error, line by line."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DD_", "OTEL_", "SSL_"))}
    if user:  # who may not write what coverage measured
        inherited = {name: value for name, value in inherited.items() if not name.startswith("COVERAGE")}
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, url, user],
        env=inherited | {"DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false"} | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert time.monotonic() - begin < LONGEST_S
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()


def run_both_ways(url, **options):
    """Run it with the address from the environment and from code; return setting → lines."""
    with ThreadPoolExecutor(2) as pool:
        by_environ = pool.submit(run, "", {"DD_TRACE_AGENT_URL": url}, **options)
        by_code = pool.submit(run, url, {}, **options)
        return {"(DD_TRACE_AGENT_URL)": by_environ.result(), "(agent_url)": by_code.result()}


def check(found, where, why):
    """Assert that each way wrote one line, with the address, the setting it came from and the reason."""
    for setting, (line, *more) in found.items():
        assert more == []
        assert f"{where} {setting}" in line or f"{where}/v0.4/traces {setting}" in line
        assert why in line


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("htp://localhost:8126", "http://, https:// or unix://"),
        ("localhost:8126", "http://, https:// or unix://"),
        ("/var/run/datadog/apm.socket", "http://, https:// or unix://"),
        ("file:///tmp/traces", "http://, https:// or unix://"),
        ("http://", "a host and a port in 1-65535"),
        ("http://localhost:99999", "a host and a port in 1-65535"),
        ("http://[::1", "a host and a port in 1-65535"),
        ("http://no..name:8126", "a host and a port in 1-65535"),
        ("unix://", "must name a socket"),
        (r"windows:\\.\pipe\datadog-apm", "http://, https:// or unix://"),
    ],
)
def test_what_is_no_address(agent, url, why):
    """One warning names the variable; the traces go where host and port say. In code it is an error at once."""
    environ = {"DD_TRACE_AGENT_URL": url, "DD_AGENT_HOST": "127.0.0.1", "DD_TRACE_AGENT_PORT": str(agent.port)}
    (line,) = run("", environ)
    assert line.startswith(f"DD_TRACE_AGENT_URL={url!r} is ignored: must ")
    assert why in line
    assert sorted(agent.accepted) == ["0", "1", "2"]
    with pytest.raises(AssertionError, match="ConfigurationError: agent_url must"):
        run(url, {})


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://no-such-host.invalid:8126", "gaierror"),
        ("http://127.0.0.1:9", "refused"),
        ("http://me:secret@127.0.0.1:9", "refused"),
        ("https://127.0.0.1:9", "refused"),
    ],
)
def test_hosts_that_cannot_be_reached(url, why):
    """A host without address, or where nobody listens, is named with its setting, but not with its credentials."""
    check(run_both_ways(url), url.replace("me:secret@", ""), why)


@pytest.fixture
def folder():
    """A folder that everybody may enter, with a short name: that of a socket must not be long."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.mark.skipif(not IS_UNIX, reason="needs Unix sockets and users")
@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("absent", "No such file"),
        ("file", "is not a socket"),
        ("folder", "is not a socket"),
        ("datagram", "socket of another type"),
        ("left over", "refused"),
        ("forbidden", "Permission denied"),
    ],
)
def test_sockets_that_cannot_be_used(folder, kind, why):
    """A socket that is not there, is none, has no listener or may not be used is named with its setting."""
    path = folder / "apm.socket"
    opened = None
    if kind == "file":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    elif kind in ("datagram", "left over", "forbidden"):
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM if kind == "datagram" else socket.SOCK_STREAM)
        opened.bind(str(path))
    if kind == "forbidden":
        opened.listen()
        path.chmod(0)
    try:
        user = "as nobody" if kind == "forbidden" else ""
        check(run_both_ways(f"unix://{path}", user=user), f"unix://{path}", why)
    finally:
        if opened is not None:
            opened.close()


class Answer(http.server.BaseHTTPRequestHandler):
    """Takes everything."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.paths.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_POST  # noqa: N815 - as http.server wants it

    def log_message(self, *_):
        pass


@contextmanager
def tls_agent(certificate, key):
    """Serve with this certificate; yield the server, whose `paths` were asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    server.paths = []
    server.handle_error = lambda *_: None  # clients that trust nobody hang up
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
@pytest.mark.parametrize(
    ("name", "is_trusted", "why"),
    [
        ("localhost", False, "certificate verify failed: self"),
        ("other.example", True, "certificate verify failed: Hostname mismatch"),
        ("localhost", True, ""),
    ],
)
def test_certificates(tmp_path, name, is_trusted, why):
    """A certificate that nobody trusts, or of another host, is named as the reason; `SSL_CERT_FILE` is trusted."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate),
            *("-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"),
        ],
        check=True,
        capture_output=True,
    )
    with tls_agent(certificate, key) as server:
        url = f"https://localhost:{server.server_port}"
        lines = run("", {"DD_TRACE_AGENT_URL": url, **({"SSL_CERT_FILE": str(certificate)} if is_trusted else {})})
    if why:
        check({"(DD_TRACE_AGENT_URL)": lines}, url, why)
        assert server.paths == []
    else:
        assert lines == []
        assert "/v0.4/traces" in server.paths


def test_something_else_listens(agent):
    """What answers but does not speak HTTP, as another server on that port, is named as such."""
    agent.set_mode("rubbish")
    check(run_both_ways(agent.url), agent.url, "not HTTP")
