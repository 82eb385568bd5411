"""Python packages that an application asks for: installed once for each set, then kept.

`requirements.txt` beside the code says what; with a directory `wheels` beside it, nothing is
taken from anywhere else, so that applications run offline. What is installed lies in a cache under
a name made of everything it depends on, and goes before the harness's own packages.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.errors import CapabilityMissing, Corrupt
from harness.runtime.package import file_digest

NAME = "requirements.txt"
WHEELS = "wheels"
INSTALL_TIMEOUT_S = 900.0
REQUIREMENTS_BYTES_MAX = 1 << 20
_SAID_MAX = 300


def default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "edge-hil-harness" / "applications"


def installed(code: Path, cache: Path | None = None) -> Path | None:
    """The directory of packages for the code in `code`, installed if need be; None: it asks for
    none.

    Raises `Corrupt` with pip's own words when they cannot be had, `CapabilityMissing` without pip.
    """
    wanted = code / NAME
    if not wanted.is_file() or not _asks(wanted):
        return None
    wheels = sorted((code / WHEELS).glob("*.whl"))
    target = (cache or default_cache()) / _key(wanted, wheels)
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            made = Path(scratch) / "site"
            _pip(wanted, code / WHEELS if wheels else None, made)
            made.mkdir(exist_ok=True)  # pip makes none where nothing had to be installed
            try:
                made.rename(target)
            except OSError:  # somebody else was quicker
                shutil.rmtree(made, ignore_errors=True)
    return target


def _asks(wanted: Path) -> bool:
    if wanted.stat().st_size > REQUIREMENTS_BYTES_MAX:
        raise Corrupt(
            f"{NAME}: over {REQUIREMENTS_BYTES_MAX} bytes", hint="is this the right file?"
        )
    lines = wanted.read_text(encoding="utf-8", errors="replace").splitlines()
    return any(line.strip() and not line.lstrip().startswith("#") for line in lines)


def _key(wanted: Path, wheels: list[Path]) -> str:
    hasher = hashlib.sha256(f"{sys.implementation.cache_tag} {file_digest(wanted)}".encode())
    for wheel in wheels:
        hasher.update(f" {wheel.name} {file_digest(wheel)}".encode())
    return hasher.hexdigest()


def _pip(wanted: Path, wheels: Path | None, target: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--target", str(target), "-r", str(wanted)]
    if wheels is not None:
        command += ["--no-index", "--find-links", str(wheels)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise Corrupt(f"{NAME}: not installed within {INSTALL_TIMEOUT_S:g} s") from None
    if done.returncode == 0:
        return
    said = [line for line in done.stderr.splitlines() if line.strip()]
    if any("No module named pip" in line for line in said):
        raise CapabilityMissing(
            f"{NAME}: this Python has no pip", hint=f"{sys.executable} -m ensurepip"
        )
    errors = [line for line in said if line.startswith("ERROR")] or said or ["pip failed"]
    raise Corrupt(
        f"{NAME}: {errors[-1][:_SAID_MAX]}",
        hint=f"every package must be had from an index, or lie in `{WHEELS}/` beside it",
    )
