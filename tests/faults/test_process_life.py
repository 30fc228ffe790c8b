"""Forks, exits and signals of real processes: every span arrives once, and nothing hangs."""

import os
import signal
import subprocess
import time

import environment
import pytest

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
]

WAIT = """
def wait(*children):
    for child in children:
        _, status = os.waitpid(child, 0)
        assert status == 0, status
"""


def arrived(agent, *seqs):
    """Assert that exactly these spans arrived, once each."""
    assert dict(agent.accepted) == dict.fromkeys(seqs, 1)


def ended_well(ended, returncode=0):
    assert ended.returncode == returncode, ended.err
    assert "Error" not in ended.err


# -- threads -------------------------------------------------------------------------------------------


def test_no_thread_before_the_first_finished_span(program, agent):
    """Neither import, nor configure(), nor an open span starts a thread; a finished one does, a daemon."""
    ended = program("""
counts = [threading.active_count()]
configure(); counts.append(threading.active_count())
span = dd.start_span("s", tags={"seq": "1"}); counts.append(threading.active_count())
span.end(); counts.append(threading.active_count())
print(counts, all(thread.daemon for thread in threading.enumerate()[1:]))
""")
    ended_well(ended)
    assert ended.out == "[1, 1, 1, 2] True\n"
    arrived(agent, "1")


def test_a_process_without_spans_makes_no_request(program, agent):
    """A configured process that finishes no span ends at once, without a request."""
    ended_well(program("configure()"))
    assert agent.connections == 0


# -- fork ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "before"),
    [
        ("ok", "trace('p0'); assert dd.flush(); time.sleep(0.1)"),
        ("ok", "trace('p0')"),
        ("late", "trace('p0'); threading.Thread(target=dd.flush).start(); time.sleep(0.4)"),
    ],
    ids=["idle", "queued", "sending"],
)
def test_both_sides_of_a_fork_send_their_own(program, agent, mode, before):
    """Whatever the worker is doing, the parent sends its spans and each child its own, once."""
    agent.set_mode(mode)
    ended = program(f"""{WAIT}
configure()
{before}
children = []
for number in range(3):
    child = os.fork()
    if not child:
        trace(f"c{{number}}")
        sys.exit(0)
    children.append(child)
trace("p1")
wait(*children)
""")
    ended_well(ended)
    arrived(agent, "p0", "p1", "c0", "c1", "c2")


def test_forks_while_the_worker_imports(program, agent):
    """A child forked while the worker thread imports the HTTP library does not inherit half an import."""
    ended = program(f"""{WAIT}
configure()
trace("p0")
children = []
for number in range(12):
    child = os.fork()
    if not child:
        import requests, urllib3
        trace(f"c{{number}}")
        sys.exit(0 if dd.flush(10) else 1)
    children.append(child)
    time.sleep(0.01)
wait(*children)
""")
    ended_well(ended)
    arrived(agent, "p0", *(f"c{number}" for number in range(12)))


def test_forks_under_load(program, agent):
    """Children forked while other threads start and end spans work, whatever lock those threads held."""
    ended = program(f"""{WAIT}
configure()
stop = threading.Event()
counts = [0] * 3
def load(index):
    while not stop.is_set():
        with dd.span("outer", tags={{"seq": f"t{{index}}.{{counts[index]}}"}}):
            counts[index] += 1
            time.sleep(0.0005)
threads = [threading.Thread(target=load, args=(index,)) for index in range(3)]
for thread in threads: thread.start()
children = []
for number in range(20):
    child = os.fork()
    if not child:
        trace(f"c{{number}}")
        assert dd.flush(10)
        os._exit(0)
    children.append(child)
    time.sleep(0.01)
stop.set()
for thread in threads: thread.join()
wait(*children)
print(sum(counts))
""")
    ended_well(ended)
    assert {f"c{number}" for number in range(20)} <= set(agent.accepted)
    assert len(agent.accepted) == 20 + int(ended.out)
    assert set(agent.accepted.values()) == {1}


def test_a_child_continues_the_trace_of_its_parent(program, agent):
    """Spans of a child are children of the parent's open span, which the parent alone sends."""
    ended = program(f"""{WAIT}
configure()
with dd.span("parent", tags={{"seq": "p"}}):
    child = os.fork()
    if not child:
        trace("c")
        sys.exit(0)
    wait(child)
""")
    ended_well(ended)
    arrived(agent, "p", "c")
    parent, child = agent.spans["p"], agent.spans["c"]
    assert (child["trace_id"], child["parent_id"]) == (parent["trace_id"], parent["span_id"])
    assert child["meta"]["runtime-id"] != parent["meta"]["runtime-id"]
    assert child["metrics"]["_sampling_priority_v1"] == parent["metrics"]["_sampling_priority_v1"]


def test_a_fork_without_hooks(program, agent):
    """Where C code forks without telling Python, as uWSGI does, the child still sends only its own spans."""
    ended = program(f"""{WAIT}
import ctypes
configure()
def fork():
    # PyDLL keeps the interpreter lock during the call, as uWSGI does: had another thread taken it, the child would wait
    # for it for ever. The worker is given time to fall asleep, so that it holds no lock of an import or of logging.
    time.sleep(0.2)
    return ctypes.PyDLL(None).fork()
trace("p0"); assert dd.flush(10); trace("p1")
child = fork()
if not child:
    trace("c")
    assert dd.flush(10)
    os._exit(0)
second = fork()
if not second:
    assert dd.flush(10)
    begin = time.monotonic()
    dd.shutdown()
    os._exit(0 if time.monotonic() - begin < 1 else 1)
wait(child, second)
""")
    ended_well(ended)
    arrived(agent, "p0", "p1", "c")


# -- multiprocessing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing_deliver(program, agent, method):
    """A child of multiprocessing ends without atexit, and still delivers what it finished last."""
    ended = program(f"""
import multiprocessing
configure()
def work(number):
    trace(f"c{{number}}")
if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    trace("p")
    children = [context.Process(target=work, args=(number,)) for number in range(2)]
    for child in children: child.start()
    for child in children: child.join()
    assert [child.exitcode for child in children] == [0, 0]
""")
    ended_well(ended)
    arrived(agent, "p", "c0", "c1")


def test_multiprocessing_imported_late(program, agent):
    """It does not matter that multiprocessing is imported only after configure()."""
    ended = program("""
configure()
import multiprocessing
if __name__ == "__main__":
    child = multiprocessing.get_context("fork").Process(target=trace, args=("c",))
    child.start(); child.join()
""")
    ended_well(ended)
    arrived(agent, "c")


def test_configure_in_the_child(program, agent):
    """A spawned child that calls configure() by itself delivers, too."""
    ended = program("""
import multiprocessing
def work():
    configure(); trace("c")
if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=work)
    child.start(); child.join()
""")
    ended_well(ended)
    arrived(agent, "c")


def test_a_pool_of_processes_delivers(program, agent):
    """Workers of a process pool deliver at its end."""
    ended = program("""
from concurrent.futures import ProcessPoolExecutor
import multiprocessing
configure()
def work(number):
    trace(f"c{number}")
if __name__ == "__main__":
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        list(pool.map(work, range(6)))
""")
    ended_well(ended)
    arrived(agent, *(f"c{number}" for number in range(6)))


# -- endings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "returncode"),
    [("", 0), ("sys.exit(3)", 3), ("raise SystemExit('bye')", 1), ("1 / 0", 1), ("dd.flush(); os._exit(4)", 4)],
)
def test_endings_deliver(program, agent, ending, returncode):
    """Every way to leave a program delivers what is finished, and keeps the exit status."""
    ended = program(f"configure(); trace('p')\n{ending}")
    assert ended.returncode == returncode
    assert "ddtrace_manual" not in ended.err.replace("import ddtrace_manual", "")
    arrived(agent, "p")


def test_os_exit_is_immediate(program, agent):
    """os._exit leaves at once even while the Agent hangs; what was not sent is lost, as documented."""
    agent.set_mode("silent")
    ended = program(
        "configure(); trace('p'); threading.Thread(target=dd.flush, daemon=True).start(); time.sleep(0.2); os._exit(0)"
    )
    ended_well(ended)
    assert ended.took_s < 3


@pytest.mark.parametrize("mode", ["silent", "fills"])
def test_the_end_does_not_wait_for_a_hanging_agent(program, agent, mode):
    """Exit takes at most the timeout of shutdown while the Agent hangs."""
    agent.set_mode(mode)
    ended = program("configure(); trace('p')")
    assert ended.returncode == 0
    assert ended.took_s < 7


def test_threads_that_go_on_at_the_end(program, agent):
    """Daemon threads that end spans while the process exits disturb nobody."""
    ended = program("""
configure()
def load():
    while True:
        trace("t")
for _ in range(3): threading.Thread(target=load, daemon=True).start()
time.sleep(0.2)
""")
    ended_well(ended)


def test_spans_that_end_in_atexit_functions(program, agent):
    """A span that ends in an atexit function which runs before ours arrives; later ones are counted."""
    ended = program("""
import atexit
atexit.register(lambda: (trace("too late"), print(dict(dd.counters().dropped_spans), dd.flush())))
configure()
atexit.register(lambda: trace("in time"))
""")
    ended_well(ended)
    arrived(agent, "in time")


def test_an_agent_that_comes_late_gets_everything(program, agent):
    """A flush waits for an Agent that is just starting."""
    agent.set_mode("absent")
    process = program.start("configure(); trace('p'); print(dd.flush(10))")
    time.sleep(1.5)
    agent.set_mode("ok")
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "True\n"), err
    arrived(agent, "p")


# -- signals -------------------------------------------------------------------------------------------


def run_until_ready(process):
    """Wait until the program has printed a line."""
    line = process.stdout.readline()
    assert line == "ready\n", process.communicate()


# Coverage has a handler of its own in these programs, and kills the process without a flush.
DEFAULT_ACTION = "signal.signal(signal.SIGTERM, signal.SIG_DFL)\n"


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "in the middle of a span"])
def test_sigterm_delivers_and_kills(program, agent, busy):
    """A program without a handler delivers what is finished, and still ends by the signal."""
    process = program.start(f"""{DEFAULT_ACTION}
configure(); trace("p")
os.write(1, b"ready\\n")
while {busy}: trace("more")
time.sleep(20)
""")
    run_until_ready(process)
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=10)
    assert process.returncode == -signal.SIGTERM
    assert not err or (busy and err.startswith("1 spans were started and never ended"))
    assert time.monotonic() - begin < 5
    assert agent.accepted["p"] == 1


def test_sigterm_delivers_what_is_finished_of_an_open_trace(program, agent):
    """The root is never ended: its finished children arrive, and one line says what was left open."""
    process = program.start(f"""{DEFAULT_ACTION}
configure()
root = dd.start_span("root", tags={{"seq": "root"}})
for seq in ("1", "2"):
    with dd.span("child", parent=root) as child: child.set_tag("seq", seq)
os.write(1, b"ready\\n")
time.sleep(20)
""")
    run_until_ready(process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=10)
    assert process.returncode == -signal.SIGTERM
    assert err.startswith("1 spans were started and never ended")
    arrived(agent, "1", "2")


def test_sigterm_during_the_exit_waits_for_it(program, agent):
    """A signal that comes while the program delivers at its end does not cut that short."""
    agent.set_mode("late")
    process = program.start(f"""{DEFAULT_ACTION}
import atexit
configure(); trace("p")
atexit.register(os.write, 1, b"ready\\n")  # runs before ours
""")
    run_until_ready(process)
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGTERM
    arrived(agent, "p")


def test_traces_leave_at_once_after_sigterm_reached_a_server(program, agent):
    """Under a server's own handler everything finished before and after the signal is sent without delay."""
    process = program.start(
        f"""{DEFAULT_ACTION}
stopping = threading.Event()
signal.signal(signal.SIGTERM, lambda number, frame: stopping.set())
configure(trace_writer_interval_seconds=60.0)
trace("warm"); assert dd.flush(10)
trace("before")
os.write(1, b"ready\\n")
stopping.wait(20)
trace("after")
sys.stdin.readline()
os._exit(3)
""",
        stdin=True,
    )
    run_until_ready(process)
    process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + 10
    while "after" not in agent.accepted and time.monotonic() < deadline:
        time.sleep(0.01)
    process.communicate("\n", timeout=10)
    assert process.returncode == 3
    arrived(agent, "warm", "before", "after")


def test_sigterm_is_left_alone_on_request(program, agent):
    """`handle_sigterm=False` changes no handler."""
    ended = program(f"{DEFAULT_ACTION}configure(handle_sigterm=False); print(signal.getsignal(signal.SIGTERM).name)")
    ended_well(ended)
    assert ended.out == "SIG_DFL\n"


def test_sigterm_with_the_helper_delivers(program, agent):
    """With the helper SIGTERM delivers and still kills the process by the signal."""
    process = program.start("""
from ddtrace_manual.integrations import shutdown_on_signals
configure(); shutdown_on_signals(); trace("p")
print("ready", flush=True)
time.sleep(20)
""")
    run_until_ready(process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGTERM
    arrived(agent, "p")


def test_sigterm_chains_to_earlier_handlers(program, agent):
    """The helper flushes and then calls the handler that was there; ignored signals stay ignored."""
    process = program.start("""
from ddtrace_manual.integrations import shutdown_on_signals
signal.signal(signal.SIGTERM, lambda number, frame: (os.write(1, b"mine\\n"), sys.exit(7)))
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits "ignore"
configure(); shutdown_on_signals(signal.SIGTERM, signal.SIGUSR1, signal.SIGINT); shutdown_on_signals()
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
trace("p")
os.kill(os.getpid(), signal.SIGUSR1)
trace("q")
print("ready", flush=True)
time.sleep(20)
""")
    run_until_ready(process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (7, "mine\n"), err
    arrived(agent, "p", "q")


def test_the_helper_wants_the_main_thread_and_real_signals(program):
    """Called elsewhere, or for a signal that cannot be handled, the helper raises a configuration error."""
    ended = program("""
from ddtrace_manual.integrations import shutdown_on_signals
from ddtrace_manual.exceptions import ConfigurationError
def attempt(*signals):
    try: shutdown_on_signals(*signals)
    except ConfigurationError as exc: print(exc)
thread = threading.Thread(target=attempt); thread.start(); thread.join()
attempt(signal.SIGKILL); attempt(12345)
""")
    ended_well(ended)
    assert len(ended.out.splitlines()) == 3


def test_a_signal_may_interrupt_anything(program, agent):
    """A handler that makes spans and flushes, at any moment of the main thread's tracing, never deadlocks."""
    ended = program("""
import itertools
configure(agent_timeout=20)
numbers, depth = itertools.count(1), 0
def arm():
    signal.setitimer(signal.ITIMER_REAL, 0.003)
def handler(number, frame):
    global depth
    depth += 1
    if depth < 5: arm()  # it is interrupted itself, but not without end where the flush takes its time
    trace(f"h{next(numbers)}")
    dd.flush(0.02)
    depth -= 1
    arm()
signal.signal(signal.SIGALRM, handler)
arm()
end, n = time.monotonic() + 2, 0
while time.monotonic() < end:
    n += 1
    with dd.span("outer", tags={"seq": f"o{n}"}): trace(f"i{n}")
signal.signal(signal.SIGALRM, signal.SIG_IGN)
count = next(numbers) - 1
dd.flush(20)
print(2 * n + count, count > 20)
""")
    ended_well(ended)
    total, enough = ended.out.split()
    assert enough == "True"
    assert len(agent.accepted) == int(total)
    assert set(agent.accepted.values()) == {1}


# -- servers -------------------------------------------------------------------------------------------


def test_a_prefork_server(program, agent):
    """A server that configures in its master, forks workers and stops them by SIGTERM loses nothing."""
    process = program.start("""
signal.signal(signal.SIGTERM, signal.SIG_DFL)  # instead of the handler that coverage may have
configure(); trace("boot")
workers = []
for number in range(2):
    worker = os.fork()
    if not worker:
        for request in range(3): trace(f"w{number}.{request}")
        os.write(1, b"ready\\n")  # one write: the other worker writes too
        while True: time.sleep(1)
    workers.append(worker)
time.sleep(1)
for worker in workers: os.kill(worker, signal.SIGTERM)
print([os.waitpid(worker, 0)[1] for worker in workers])
""")
    out, err = process.communicate(timeout=20)
    assert out == "ready\nready\n[15, 15]\n", err
    arrived(agent, "boot", *(f"w{number}.{request}" for number in range(2) for request in range(3)))


ENVIRONMENT = environment.ROOT / ".venv-servers"


@pytest.fixture(scope="session")
def servers():
    """The Python that has gunicorn and gevent."""
    if not (ENVIRONMENT / environment.STAMP).exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("run `make .venv-servers/.stamp`")
    return str(environment.python_of(ENVIRONMENT))


@pytest.mark.parametrize("worker_class", ["sync", "gthread", "gevent"])
@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["lazy", "preload"])
def test_gunicorn(program, agent, servers, tmp_path, worker_class, preload):
    """Under gunicorn, preloaded or not, the spans of all requests arrive once, up to its SIGTERM."""
    import socket
    import urllib.request

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "app.py").write_text(f"""
import ddtrace_manual as dd
dd.configure(service="web", agent_url={agent.url!r}, instrumentation_telemetry_enabled=False,
             remote_configuration_enabled=False, trace_startup_logs=False)
with dd.span("boot", tags={{"seq": "boot"}}) as span: pass
def app(environ, start_response):
    with dd.span("request", tags={{"seq": environ["PATH_INFO"]}}): pass
    start_response("200 OK", [])
    return [b"ok"]
""")
    process = program.start(
        f"""
import sys
from gunicorn.app.wsgiapp import run
sys.argv = ["gunicorn", "-w", "2", "-k", {worker_class!r}, "-b", "127.0.0.1:{port}", "--chdir", {str(tmp_path)!r},
            "--log-level", "warning", *{list(preload)!r}, "app:app"]
run()
""",
        python=servers,
        prelude=False,
    )
    paths = [f"/{number}" for number in range(10)]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + 20
    for path in paths:
        while True:
            try:
                opener.open(f"http://127.0.0.1:{port}{path}", timeout=5).read()
                break
            except OSError:
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.1)
    time.sleep(1)  # gunicorn's own gevent workers hang when the signal comes while they start
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, (out, err)
    requests = {seq: count for seq, count in agent.accepted.items() if seq != "boot"}
    assert requests == dict.fromkeys(paths, 1)
    assert agent.accepted["boot"] == (1 if preload else 2)


def test_gunicorn_gevent_preload_leaves_https_to_the_application(program, agent, servers, tmp_path):
    """After a default `configure()` in a preloaded module, the application's own https requests work under gevent."""
    import http.server
    import socket
    import ssl
    import threading
    import urllib.error
    import urllib.request

    certificate = tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(certificate), "-out", str(tmp_path / "public.pem")],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    certificate.write_text(certificate.read_text() + (tmp_path / "public.pem").read_text())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "6")
            self.end_headers()
            self.wfile.write(b"secure")

        def log_message(self, *_):
            pass

    secure = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    serving = threading.Thread(target=secure.serve_forever, daemon=True)
    serving.start()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "app.py").write_text(f"""
import ddtrace_manual as dd
dd.configure(service="web", agent_url={agent.url!r})
def app(environ, start_response):
    import requests
    with dd.span("request", tags={{"seq": environ["PATH_INFO"]}}):
        session = requests.Session()
        session.trust_env = False
        answer = session.get("https://127.0.0.1:{secure.server_port}", verify={str(tmp_path / "public.pem")!r}).content
    start_response("200 OK", [])
    return [answer]
""")
    process = program.start(
        f"""
import sys
from gunicorn.app.wsgiapp import run
sys.argv = ["gunicorn", "-w", "1", "-k", "gevent", "-b", "127.0.0.1:{port}", "--chdir", {str(tmp_path)!r},
            "--log-level", "warning", "--preload", "app:app"]
run()
""",
        python=servers,
        prelude=False,
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    answers = []
    deadline = time.monotonic() + 20
    try:
        for path in ("/0", "/1"):
            while len(answers) <= int(path[1]):
                try:
                    answers.append(opener.open(f"http://127.0.0.1:{port}{path}", timeout=5).read())
                except urllib.error.HTTPError:
                    break
                except OSError:
                    assert process.poll() is None, process.communicate()
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
        secure.shutdown()
        secure.server_close()
        serving.join()
    assert answers == [b"secure", b"secure"], (out, err)
    arrived(agent, "/0", "/1")


GEVENT_LOAD = """
import gevent
def work(number):
    with dd.span("outer", tags={"seq": f"o{number}"}):
        gevent.sleep(0.05)
        trace(f"i{number}")
begin = time.monotonic()
gevent.joinall([gevent.spawn(work, number) for number in range(50)])
took = time.monotonic() - begin
ticks = []
def tick():
    while True:
        ticks.append(time.monotonic()); gevent.sleep(0.01)
ticker = gevent.spawn(tick)
gevent.sleep(1.5)
assert dd.flush(10)
gaps = [after - before for before, after in zip(ticks, ticks[1:])]
print(took < 1, max(gaps) < 0.5, len(ticks) > 50)
"""


@pytest.mark.parametrize(
    "code",
    [
        "from gevent import monkey; monkey.patch_all()\n{prelude}\nconfigure()",
        "{prelude}\nfrom gevent import monkey; monkey.patch_all()\nconfigure()",
        "{prelude}\nconfigure()\nfrom gevent import monkey; monkey.patch_all()",
        "{prelude}\nconfigure()\ntrace('first'); dd.flush()\nfrom gevent import monkey; monkey.patch_all()",
    ],
    ids=["before import", "before configure", "before the thread", "after the thread"],
)
def test_gevent(program, agent, servers, code):
    """Whenever gevent patches, spans arrive once and the worker never blocks the greenlets."""
    from conftest import PRELUDE

    ended = program(code.format(prelude=PRELUDE.format(url=agent.url)) + GEVENT_LOAD, python=servers, prelude=False)
    # Patching under a running thread makes `threading` complain about that thread at the very end.
    assert (ended.returncode, ended.out) == (0, "True True True\n"), ended.err
    expected = {f"{kind}{number}" for kind in "oi" for number in range(50)}
    assert set(agent.accepted) - {"first"} == expected
    assert set(agent.accepted.values()) == {1}
