"""Where results come from: stored beside every table of them."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
import time
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

VERSIONS = ("torch", "numpy", "scipy")


def origin(command: str) -> dict[str, Any]:
    """{"command", "date", "commit", "versions", "processor"} of results that the command computes now."""
    return {
        "command": command,
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit(),
        "versions": {"python": sys.version.split()[0]} | {name: version_of(name) for name in VERSIONS},
        "processor": processor(),
    }


@lru_cache
def code(*packages: str) -> dict[str, str | None]:
    """What decides the numbers of these packages, but for the processor: a hash of their source files, tests left out,
    as "code", and the versions of VERSIONS."""
    found = hashlib.sha256()
    for package in packages:
        spec = find_spec(package)
        roots = [] if spec is None else list(spec.submodule_search_locations or [])
        for root in map(Path, roots):
            for path in sorted(root.rglob("*.py")):
                name = path.relative_to(root)
                if "tests" not in name.parts:
                    found.update(f"{package}/{name.as_posix()}\0".encode() + path.read_bytes())
    return {"code": found.hexdigest()[:16]} | {name: version_of(name) for name in VERSIONS}


def commit() -> str | None:
    """The commit of this code, with -dirty where files differ from it; None if this code is in no repository."""
    here = Path(__file__)
    if not git(here.parent, "ls-files", here.name):  # installed, perhaps below a repository of something else
        return None
    return git(here.parent, "describe", "--always", "--dirty") or None


def git(directory: Path, *arguments: str) -> str:
    """What git prints; empty where there is no repository or no git."""
    try:
        done = subprocess.run(["git", *arguments], cwd=directory, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def version_of(package: str) -> str | None:
    """Its version; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """Its name and widest vector unit, "AMD EPYC, avx2": the digits of trained numbers depend on it."""
    name, widest = platform.machine(), ""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or name
    for line in lines:
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "model name":
            name = value
        if key == "flags":
            widest = next((unit for unit in ("avx512f", "avx2", "avx") if unit in value.split()), "")
            break
    return f"{name}, {widest}" if widest else name
