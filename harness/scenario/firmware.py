"""What a firmware version alone says: its major version and its anti-rollback level."""

from __future__ import annotations

FUSED_SINCE_MAJOR = 8


def major(version: str) -> int:
    return int(version.split(".")[0])


def version_key(version: str) -> tuple[int, ...]:
    """Orders versions such as 7.0.13."""
    return tuple(int(part) for part in version.split("."))


def fuse_level(version: str) -> int:
    """Fuses that a release blows unless its image says otherwise.

    Users of the recalled 7.0.11 went back to 6.2.1 by the same kind of job, and from 8.0.29 on no
    release before 8 can be installed (vendor's developer guide and change log, 2024): so 1, then 2.
    """
    return 2 if major(version) >= FUSED_SINCE_MAJOR else 1
