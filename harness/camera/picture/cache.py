"""Encoded clips on disk: one file a clip, named by the hash of all that went into it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from harness.camera.picture.encode import AccessUnit
from harness.errors import Corrupt, InputError

CACHE_BYTES_MAX = 1 << 30
_MAGIC = b"HILCLIP2"
_DIGEST_BYTES = hashlib.sha256().digest_size


def default_cache_dir() -> Path:
    """`$XDG_CACHE_HOME/edge-hil-harness`, or the same under `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "edge-hil-harness"


def find(directory: Path, key: str) -> tuple[AccessUnit, ...] | None:
    """The access units of clip `key`; None where they are not there, or damaged."""
    path = directory / f"{key}.clip"
    with contextlib.suppress(OSError, Corrupt):
        return _parse(path.read_bytes(), path)
    return None


def store(directory: Path, key: str, units: tuple[AccessUnit, ...]) -> None:
    """Keep a clip. Raises `InputError` when the directory cannot be written."""
    _store(directory / f"{key}.clip", _format(units))


def _format(units: tuple[AccessUnit, ...]) -> bytes:
    """Magic, SHA-256 of the rest, length of the head, JSON head, NAL units."""
    sizes = [[len(nal) for nal in unit.nals] for unit in units]
    lags = [unit.lag_frames for unit in units]
    head = json.dumps({"sizes": sizes, "keys": [u.key for u in units], "lags": lags}).encode()
    body = b"".join((len(head).to_bytes(4, "big"), head, *(n for u in units for n in u.nals)))
    return _MAGIC + hashlib.sha256(body).digest() + body


def _parse(data: bytes, path: Path) -> tuple[AccessUnit, ...]:
    begin = len(_MAGIC) + _DIGEST_BYTES
    body = data[begin:]
    if data[: len(_MAGIC)] != _MAGIC or hashlib.sha256(body).digest() != data[len(_MAGIC) : begin]:
        raise Corrupt(f"{path} is damaged", hint="remove the file; it is built again")
    end = 4 + int.from_bytes(body[:4], "big")
    head: dict[str, Any] = json.loads(body[4:end])
    units = []
    for sizes, key, lag in zip(head["sizes"], head["keys"], head["lags"], strict=True):
        nals = []
        for size in sizes:
            nals.append(body[end : end + size])
            end += size
        units.append(AccessUnit(tuple(nals), key, lag))
    return tuple(units)


def _store(path: Path, data: bytes) -> None:
    """Write by atomic rename: readers see the whole entry or none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=path.stem[:16], suffix=".tmp", delete=False
        ) as file:
            file.write(data)
        os.replace(file.name, path)
    except OSError as error:
        raise InputError(
            f"cannot write the clip cache {path.parent}: {error.strerror}",
            hint="set XDG_CACHE_HOME to a directory that can be written",
        ) from error
    _trim(path)


def _trim(newest: Path) -> None:
    """Remove the oldest entries until the cache is within its bound; `newest` stays."""
    entries = [(entry.stat(), entry) for entry in newest.parent.glob("*.clip") if entry != newest]
    entries.sort(key=lambda item: item[0].st_mtime)
    total = newest.stat().st_size + sum(stat.st_size for stat, _ in entries)
    for stat, entry in entries:
        if total <= CACHE_BYTES_MAX:
            return
        entry.unlink(missing_ok=True)
        total -= stat.st_size
