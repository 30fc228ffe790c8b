"""Build the sdist and the wheel, and use the wheel in an empty environment as a reader of the README would.

The wheel is built from the sdist, so whatever the sdist lacks is found. Fails when the tag of a release is not that of
the version, when a distribution lacks a file, or when the example of the README sends no trace.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
DIST: Final = ROOT / "dist"
IN_SDIST: Final = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "ddtrace_manual/py.typed",
    "docs/tutorial/first-trace.md",
    "examples/first_trace.py",
    "pyproject.toml",
    "scripts/environment.py",
    "tests/conftest.py",
)
IN_WHEEL: Final = ("_ddtrace_manual_pytest.py", "ddtrace_manual/__init__.py", "ddtrace_manual/py.typed")
# Runs the function of the README without the server that it calls.
CALL: Final = """
sent = []
requests.post = lambda url, headers: sent.append(headers)
pay(7)
assert sent[0]["x-datadog-trace-id"], sent
"""


def main() -> int:
    """Return 0 if a release may be made."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tag", default="", help="the tag of the release, for example v1.2.3")
    options = parser.parse_args()
    source_version = read_version()
    if options.tag and options.tag != f"v{source_version}":
        return fail(f"the tag {options.tag} is not that of version {source_version}")
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", str(DIST), str(ROOT))
    sdist, wheel = only("*.tar.gz"), only("*.whl")
    for problem in (*missing_of_sdist(sdist), *missing_of_wheel(wheel)):
        return fail(problem)
    if f"-{source_version}" not in wheel.name or f"-{source_version}" not in sdist.name:
        return fail(f"{sdist.name} and {wheel.name} are not of version {source_version}")
    with tempfile.TemporaryDirectory() as folder:
        problem = use(wheel, Path(folder), source_version)
    if problem:
        return fail(problem)
    print(f"{sdist.name} and {wheel.name} may be released")
    return 0


def read_version() -> str:
    """Return the version from the only place that has it."""
    text = (ROOT / "ddtrace_manual" / "_version.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise SystemExit("ddtrace_manual/_version.py has no version")
    return found[1]


def missing_of_sdist(path: Path) -> list[str]:
    """Return a message for each file that the sdist lacks."""
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    return [f"{path.name} lacks {name}" for name in IN_SDIST if name not in names]


def missing_of_wheel(path: Path) -> list[str]:
    """Return a message for each file that the wheel lacks, and for what does not belong into it."""
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
    own = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    return [f"{path.name} lacks {name}" for name in IN_WHEEL if name not in names] + [
        f"{path.name} has {name}" for name in sorted(own - {"ddtrace_manual", "_ddtrace_manual_pytest.py"})
    ]


def use(wheel: Path, folder: Path, version: str) -> str:
    """Install the wheel into an empty environment and run the README's example there; return what went wrong."""
    venv.create(folder / "venv", with_pip=True)
    scripts = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    run(str(scripts / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel))
    run(str(scripts / "python"), "-m", "pip", "check")
    output = run(str(scripts / "ddtrace-manual"), "version", folder=folder)
    if f"ddtrace-manual {version}" not in output:
        return f"the installed command says another version:\n{output}"
    program = folder / "readme.py"
    program.write_text(readme_example() + CALL, encoding="utf-8")
    output = run(str(scripts / "ddtrace-manual"), "run", str(program), folder=folder)
    if "checkout.pay" not in output or "db.query" not in output:
        return f"the example of the README drew no trace:\n{output}"
    return ""


def readme_example() -> str:
    """Return the example of the README."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    found = [block for block in blocks if "dd.configure(" in block]
    if not found:
        raise SystemExit("README.md has no example with dd.configure()")
    return found[0]


def only(pattern: str) -> Path:
    """Return the one file in `dist` of a pattern."""
    (path,) = DIST.glob(pattern)
    return path


def run(*command: str, folder: Path = ROOT) -> str:
    """Return what a command writes; end with its output if it fails."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("DD_", "OTEL_", "PYTHONPATH"))}
    done = subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def fail(message: str) -> int:
    """Say what is wrong."""
    print(f"release-check: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
