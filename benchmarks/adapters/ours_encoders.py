"""`ddtrace_manual` with other msgpack encoders in the place of `msgpack` (`make bench-dependencies`).

For the measurement only: what they do with broken text, large numbers and unknown types is not made equal.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgpack
from ours import flush, set_up, shut_down, ten_span
from ours_features import children_client, children_event

# The worker looks everything up in one module.
__all__ = ["children_client", "children_event", "flush", "set_up", "shut_down", "ten_span"]


def with_ormsgpack() -> None:
    """Pack everything with `ormsgpack`."""
    import ormsgpack

    def pack(value: Any) -> bytes:
        return ormsgpack.packb(value, option=ormsgpack.OPT_NON_STR_KEYS)

    _replace_packer(pack)


def with_ormsgpack_text_keys() -> None:
    """Pack everything with `ormsgpack`, without its option for keys that are numbers (v0.5 and v1.0 have them)."""
    import ormsgpack

    _replace_packer(ormsgpack.packb)


def with_msgspec() -> None:
    """Pack everything with `msgspec`."""
    import msgspec

    _replace_packer(msgspec.msgpack.Encoder().encode)


def _replace_packer(pack: Callable[[Any], bytes]) -> None:
    msgpack.Packer = lambda: SimpleNamespace(pack=pack)  # the encoders make theirs when the library is configured
    set_up()
