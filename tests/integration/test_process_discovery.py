"""What another process of the machine reads about a traced one, from `/proc`."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import msgpack
import pytest

from ddtrace_manual._setup.process_context import HEADER, encode_context, encode_header
from ddtrace_manual._setup.process_discovery import ProcessFacts, encode_facts

pytestmark = [pytest.mark.integration, pytest.mark.skipif(sys.platform != "linux", reason="Linux only")]

PROGRAM = """
import os, sys
import ddtrace_manual as dd

settings = dict(env="dev", remote_configuration_enabled=False, trace_startup_logs=False)
dd.configure(service="first", **settings)
dd.configure(service="svc", version="2", **settings)
read, write = os.pipe()
ready, tell = os.pipe()
child = os.fork() if sys.argv[1] == "fork" else 1
if child == 0:
    os.close(write)
    os.write(tell, b"x")
    os.read(read, 1)
    os._exit(0)
if sys.argv[1] == "fork":
    os.read(ready, 1)
print(child, flush=True)
sys.stdin.readline()
os.close(write)
"""


@pytest.fixture
def traced():
    """Start a traced process; return its process id and that of its forked child."""
    running = []

    def start(mode, **environ):
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PROGRAM, mode],
            env={**os.environ, "DD_TRACE_AGENT_URL": "http://127.0.0.1:9", **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process.pid, int(process.stdout.readline())

    yield start
    for process in running:
        process.communicate("\n", timeout=30)


def discovery_files(pid):
    """Return the decoded files of a process."""
    return [
        msgpack.unpackb(path.read_bytes())
        for path in Path(f"/proc/{pid}/fd").iterdir()
        if os.readlink(path).startswith("/memfd:datadog-tracer-info-")  # noqa: PTH115 - no path of the file system
    ]


def contexts(pid):
    """Return the payloads of the process contexts of a process."""
    found = []
    process = Path(f"/proc/{pid}")
    with (process / "maps").open() as maps, (process / "mem").open("rb") as memory:
        for line in maps:
            if "OTEL_CTX" not in line:
                continue
            memory.seek(int(line.split("-")[0], 16))
            signature, version, size, published_ns, address = HEADER.unpack(memory.read(HEADER.size))
            assert (signature, version) == (b"OTEL_CTX", 2)
            assert published_ns > 0
            memory.seek(address)
            found.append(memory.read(size))
    return found


def test_second_process_reads_what_was_published_last(traced):
    """One file, with the second configuration; sealed; and one mapping with the same facts."""
    pid, _ = traced("run")
    (facts,) = discovery_files(pid)
    assert facts["schema_version"] == 2
    assert (facts["service_name"], facts["service_env"], facts["service_version"]) == ("svc", "dev", "2")
    assert facts["tracer_language"] == "python"
    assert "entrypoint." in facts["process_tags"]
    (payload,) = contexts(pid)
    assert facts["runtime_id"].encode() in payload
    assert b"service.name\x12\x05\n\x03svc" in payload
    assert b"threadlocal" not in payload


def test_forked_child_publishes_itself(traced):
    """One file and one mapping in each process, with identifiers of their own."""
    parent, child = traced("fork")
    (of_parent,), (of_child,) = discovery_files(parent), discovery_files(child)
    assert of_parent["runtime_id"] != of_child["runtime_id"]
    (payload,) = contexts(child)
    assert of_child["runtime_id"].encode() in payload


def test_nothing_is_published_when_tracing_is_off(traced):
    """`DD_TRACE_ENABLED=false`: this process is not traced."""
    pid, _ = traced("run", DD_TRACE_ENABLED="false")
    assert discovery_files(pid) == contexts(pid) == []


def test_file_content_is_that_of_the_specification():
    """The example of §13, to the byte."""
    facts = ProcessFacts(
        runtime_id="r",
        hostname="h",
        service="svc",
        env="dev",
        version="2",
        process_tags="entrypoint.name:main",
        container_id="",
        tracer_version="1.0.0",
    )
    encoded = encode_facts(facts)
    assert encoded.startswith(bytes.fromhex("89ae736368656d615f76657273696f6e02aa72756e74696d655f6964a172"))
    assert len(encoded) == 170


def test_context_is_that_of_the_specification():
    """The example of §14, to the byte."""
    assert encode_context({"service.name": "svc"}).hex() == "0a170a150a0c736572766963652e6e616d6512050a03737663"
    assert encode_header(25, 123456789, 0x7F0000001000) == struct.pack(
        "=8sIIQQ", b"OTEL_CTX", 2, 25, 123456789, 0x7F0000001000
    )
