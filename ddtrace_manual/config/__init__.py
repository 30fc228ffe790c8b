"""Configuration: the only reader of the environment and of the host's configuration files."""

from __future__ import annotations

from ._agent_url import without_user_info
from ._config import Config
from ._environ import process_environ
from ._otlp import OtlpTarget
from ._process import publish_session
from ._row import Setting
from ._settings import GROUPS, SETTINGS
from ._settings_type import Settings
from ._sources import Found
from ._without_effect import WITHOUT_EFFECT

__all__ = [
    "GROUPS",
    "SETTINGS",
    "WITHOUT_EFFECT",
    "Config",
    "Found",
    "OtlpTarget",
    "Setting",
    "Settings",
    "process_environ",
    "publish_session",
    "without_user_info",
]
