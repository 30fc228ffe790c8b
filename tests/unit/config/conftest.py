"""A configuration made from a given environment, with nothing of this machine in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

from ddtrace_manual.config import Config

Load = Callable[..., Config]


@pytest.fixture
def load(tmp_path) -> Load:
    """Return a function that loads a Config from environment variables, code settings and file texts."""

    def make(
        environ: Mapping[str, str] | None = None,
        *,
        code: Mapping[str, Any] | None = None,
        fleet: str | None = None,
        local: str | None = None,
        argv: Iterable[str] = (),
        orig_argv: Iterable[str] | None = None,
        cwd: str | None = None,
        sockets: Iterable[str] = (),
    ) -> Config:
        paths = {}
        for variable, text in (("_DD_SC_MANAGED_FILE_OVERRIDE", fleet), ("_DD_SC_LOCAL_FILE_OVERRIDE", local)):
            path = tmp_path / f"{variable}.yaml"
            path.unlink(missing_ok=True)
            if text is not None:
                path.write_text(text, encoding="utf-8")
            paths[variable] = str(path)
        present = frozenset(sockets)
        return Config.load(
            code,
            environ={**paths, **(environ or {})},
            argv=list(argv),
            orig_argv=None if orig_argv is None else list(orig_argv),
            cwd=str(tmp_path) if cwd is None else cwd,
            exists=present.__contains__,
        )

    return make
