"""Run the tests on every supported CPython of this machine, each in an environment of its own.

Interpreters are looked for on the PATH and under ~/.pyenv/versions. The environments .venv-3.x are
made once and refreshed when pyproject.toml changes. Arguments of this script go to pytest.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import environment

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
_WHO = "import platform, sys; print('%d.%d' % sys.version_info[:2], platform.python_implementation(), sys.executable)"


def main(arguments: list[str]) -> int:
    """Test on each interpreter, print a summary, and fail when one of them failed or none was found."""
    found = interpreters()
    print(f"test-all: {', '.join(found) or 'no interpreter found'}", flush=True)
    results: dict[str, str] = {}
    for version, python in found.items():
        directory = ROOT / f".venv-{version}"
        stamp = directory / environment.STAMP
        if not stamp.exists() or stamp.stat().st_mtime < (ROOT / "pyproject.toml").stat().st_mtime:
            environment.install(directory, python, ["test"], [], editable=True, extras="")
        print(f"\ntest-all: CPython {version} ({python})", flush=True)
        command = [str(environment.python_of(directory)), "-m", "pytest", "-p", "no:cacheprovider", *arguments]
        done = subprocess.run(command, cwd=ROOT, check=False)
        results[version] = "passed" if done.returncode == 0 else f"failed with exit code {done.returncode}"
    print()
    for version in VERSIONS:
        print(f"test-all: CPython {version}: {results.get(version, 'not on this machine')}")
    return 0 if results and set(results.values()) == {"passed"} else 1


def interpreters() -> dict[str, str]:
    """Return the newest usable CPython of each supported version: version to path."""
    candidates: list[str] = []
    for version in VERSIONS:
        on_path = shutil.which(f"python{version}")
        candidates += [on_path] if on_path else []
        pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
        candidates += map(str, sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True))
    candidates += filter(None, [shutil.which("python3"), sys.executable])
    found: dict[str, str] = {}
    for candidate in candidates:
        # A pyenv shim exists for every version but starts only the selected ones: ask it.
        answer = subprocess.run([candidate, "-c", _WHO], check=False, capture_output=True, text=True)
        version, implementation, executable = [*answer.stdout.strip().split(" ", 2), "", "", ""][:3]
        if answer.returncode == 0 and implementation == "CPython" and version in VERSIONS:
            found.setdefault(version, executable)
    return {version: found[version] for version in VERSIONS if version in found}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
