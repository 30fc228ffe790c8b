"""What is known about gevent before it patches."""

import sys
from types import SimpleNamespace

import pytest

from ddtrace_manual._base.gevent_patch import gevent_may_still_patch


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        ({}, False),
        ({"urllib3.util.ssl_": None}, False),
        ({"gevent": None}, True),
        ({"gevent": None, "gevent.monkey": SimpleNamespace()}, True),
        ({"gevent": None, "gevent.monkey": SimpleNamespace(saved={"os": {}})}, True),
        ({"gevent": None, "gevent.monkey": SimpleNamespace(saved={"ssl": {}})}, False),
        ({"gevent": None, "urllib3.util.ssl_": None}, False),
    ],
)
def test_it_may_patch_while_the_http_library_is_not_imported(monkeypatch, modules, expected):
    for name in ("gevent", "gevent.monkey", "urllib3.util.ssl_"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    assert gevent_may_still_patch() is expected
