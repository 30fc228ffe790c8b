"""Answers of the Agent's endpoint for remote configuration, in the form the backend makes them.

Source: spec/telemetry-remote-config.md §9.2.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["remote_config_answer"]


def remote_config_answer(files: Mapping[str, object], version: int = 1) -> dict[str, Any]:  # Any: JSON
    """Return the answer that makes these files the active ones.

    Args:
        files: Path, for example `datadog/2/APM_TRACING/1/config`, to content: bytes, or what becomes JSON.
        version: Of the targets, and of every file.
    """
    contents = {
        path: given if isinstance(given, bytes) else json.dumps(given).encode() for path, given in files.items()
    }
    targets = {
        "signatures": [{"keyid": "", "sig": ""}],
        "signed": {
            "_type": "targets",
            "custom": {"opaque_backend_state": base64.b64encode(f"state {version}".encode()).decode()},
            "expires": "2100-01-01T00:00:00Z",
            "spec_version": "1.0.0",
            "version": version,
            "targets": {
                path: {
                    "custom": {"v": version},
                    "hashes": {"sha256": hashlib.sha256(content).hexdigest()},
                    "length": len(content),
                }
                for path, content in contents.items()
            },
        },
    }
    root = {"signatures": [], "signed": {"_type": "root", "version": 1}}
    return {
        "roots": [_encoded(json.dumps(root).encode())],
        "targets": _encoded(json.dumps(targets).encode()),
        "target_files": [{"path": path, "raw": _encoded(content)} for path, content in contents.items()],
        "client_configs": list(contents),
    }


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()
