"""Clients in virtual environments of their own, which the tests make and keep."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.cli.app import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Newer than what the lock has, and never in it: the lock keeps the last botocore with the service.
NEWEST = ("awscli", "boto3", "schemathesis")
VENDORS = ("panoramacli==1.1.6", "setuptools<82", "awscli==1.45.37", "botocore==1.43.37")
RENEW_S = 30 * 86400.0
INSTALL_TIMEOUT_S = 900.0
CALL_TIMEOUT_S = 300.0
PIP = ("-m", "pip", "--disable-pip-version-check", "--retries", "1", "--timeout", "20")


@dataclass(frozen=True)
class Clients:
    """Programs of an environment, run with nothing of this machine's AWS settings."""

    python: Path
    models: Path | None = None  # a folder for AWS_DATA_PATH

    async def run(
        self,
        program: str,
        *arguments: str,
        variables: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> str:
        """What it printed, run in `folder`. Fails with what it said when its exit code is not 0."""
        environment = {
            "PATH": f"{self.python.parent}:{os.environ['PATH']}",
            "HOME": "/nonexistent",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            **({"AWS_DATA_PATH": str(self.models)} if self.models is not None else {}),
            **(variables or {}),
        }
        process = await asyncio.create_subprocess_exec(
            self.python.with_name(program),
            *arguments,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        text = output.decode(errors="replace")
        assert process.returncode == 0, _short(text)
        return text


def _short(text: str) -> str:
    """The end of an output; its lines may be of any length."""
    return "\n".join(line[:300] for line in text.splitlines()[-60:])


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The service model, as `harness cloud install-model` writes it."""
    folder = tmp_path_factory.mktemp("models")
    assert run(["cloud", "install-model", "--directory", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def pinned() -> Clients:
    """The project's own environment: the last botocore that carries the service."""
    return Clients(Path(sys.executable))


@pytest.fixture(scope="session")
def newest(models: Path) -> Clients:
    """The newest clients there are; skips when they cannot be had."""
    return Clients(_environment(NEWEST), models)


@pytest.fixture(scope="session")
def vendors() -> Clients:
    """The vendor's packager, and the last AWS CLI that carries the service."""
    return Clients(_environment(VENDORS))


def _environment(requirements: tuple[str, ...]) -> Path:
    """Its Python. Skips when it cannot be made."""
    name = json.dumps([requirements, sys.version_info[:2], sys.base_prefix])
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "edge-hil-harness/clients" / hashlib.sha256(name.encode()).hexdigest()[:16]
    with _locked(folder):
        _make(folder, requirements)
    return folder / "bin/python"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One at a time: test processes share the environment."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(folder: Path, requirements: tuple[str, ...]) -> None:
    """An environment that is whole and not old; one that cannot be renewed is good enough."""
    made = folder / "made"
    if made.exists() and time.time() - made.stat().st_mtime < RENEW_S:
        return
    if not made.exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    problem = _install(folder / "bin/python", requirements)
    if not problem:
        made.touch()
    elif not made.exists():
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"{', '.join(requirements)} cannot be installed: {problem}")


def _install(python: Path, requirements: tuple[str, ...]) -> str:
    """Why it did not work; empty when it did."""
    command = [str(python), *PIP, "install", "--quiet", "--upgrade", *requirements]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"not done after {INSTALL_TIMEOUT_S:g} s"
    said = done.stderr.strip().splitlines() or ["pip said nothing"]
    return said[-1] if done.returncode else ""


@pytest.fixture
def credentials(cloud: Any) -> Mapping[str, str]:
    """Variables that sign for the root of the account."""
    key = cloud.server.root_key
    return {"AWS_ACCESS_KEY_ID": key.id, "AWS_SECRET_ACCESS_KEY": key.secret}
