"""Noticing forks that nobody announces."""

import os

import pytest

from ddtrace_manual._base.ids import IdSource
from ddtrace_manual._base.process_mark import ProcessIdMark, make_process_mark

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def in_child(function):
    """Return what a function returns, as text, in a forked child."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, str(function()).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as answer:
        return answer.read()


@pytest.mark.parametrize("make", [make_process_mark, ProcessIdMark])
def test_mark_is_false_in_forks_of_the_process(make):
    mark = make()
    assert mark[0] == 1
    assert in_child(lambda: mark[0]) == "0"
    assert mark[0] == 1


def test_mark_falls_back_to_the_process_id(monkeypatch):
    """Kernels and systems that wipe no pages work too."""
    monkeypatch.setattr("mmap.mmap", lambda *args, **kwargs: (_ for _ in ()).throw(OSError))
    assert isinstance(make_process_mark(), ProcessIdMark)


def test_forks_that_nobody_announces_make_different_ids():
    ids = IdSource()  # not known to any provider: nobody tells it of the fork
    made = {in_child(ids.trace_id), in_child(ids.trace_id), str(ids.trace_id())}
    assert len({int(trace_id) & (1 << 64) - 1 for trace_id in made}) == 3

    def span_id_after_notice():
        ids.notice_fork()
        return ids.span_id()

    assert in_child(span_id_after_notice) != in_child(span_id_after_notice)
