"""Make a virtual environment with what one part of the project needs; `make` calls it behind stamp files.

    python scripts/environment.py .venv --editable --group dev
    python scripts/environment.py .venv-agent --group agent

Standard library only: it runs on a machine that has nothing but Python.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAMP = ".stamp"
"""Touched in an environment once it is complete: an interrupted installation is repeated."""


def main() -> int:
    """Create or refresh the environment named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--python", default=sys.executable, help="interpreter of the environment")
    parser.add_argument("--group", action="append", default=[], help="dependency group of pyproject.toml")
    parser.add_argument("--editable", action="store_true", help="install the project itself, in place")
    parser.add_argument("--extras", default="", help="extras of the project, for example yaml,otlp")
    parser.add_argument("--also", action="append", default=[], help="a further requirement")
    args = parser.parse_args()
    try:
        install(args.directory, args.python, args.group, args.also, editable=args.editable, extras=args.extras)
    except subprocess.CalledProcessError as exc:
        print(f"environment: {' '.join(map(str, exc.cmd))} failed with exit code {exc.returncode}", file=sys.stderr)
        return 1
    return 0


def install(
    directory: Path,
    python: str,
    groups: list[str],
    also: list[str],
    *,
    editable: bool,
    extras: str,
) -> None:
    """Create the environment when it is missing and install into it what was asked for."""
    executable = python_of(directory)
    if not works(executable):
        print(f"environment: creating {directory} with {python}", flush=True)
        subprocess.run([python, "-m", "venv", "--clear", str(directory)], check=True)
    pip = [str(executable), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    # --group needs pip 25.1, newer than what most interpreters bring along.
    run(pip, "pip>=25.1")
    wanted: list[str] = []
    if editable:
        wanted += ["--editable", f".[{extras}]" if extras else "."]
    for group in groups:
        wanted += ["--group", group]
    if wanted or also:
        print(f"environment: installing {' '.join([*wanted, *also])} into {directory}", flush=True)
        run(pip, *wanted, *also)
    (directory / STAMP).touch()


def python_of(directory: Path) -> Path:
    """Return the interpreter inside an environment."""
    windows = os.name == "nt"
    return directory / ("Scripts" if windows else "bin") / ("python.exe" if windows else "python")


def works(executable: Path) -> bool:
    """Tell whether an environment is there and its interpreter still starts (the one it links to may be gone)."""
    if not executable.exists():
        return False
    check = subprocess.run([str(executable), "-m", "pip", "--version"], check=False, capture_output=True)
    return check.returncode == 0


def run(pip: list[str], *arguments: str) -> None:
    """Run pip in the project's folder, quietly; what pip says about an error is shown."""
    done = subprocess.run([*pip, *arguments], cwd=ROOT, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        sys.stderr.write(done.stdout.decode(errors="replace"))
        raise subprocess.CalledProcessError(done.returncode, [*pip, *arguments])


if __name__ == "__main__":
    sys.exit(main())
