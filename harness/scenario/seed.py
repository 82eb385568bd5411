"""The seed tree: every part's seed derives from the run's seed and the part's own path.

A part's seed therefore never moves when another part is added or removed.
"""

from __future__ import annotations

import hashlib

SEED_BITS = 53  # exact in every reader of JSON


def derive(seed: int, *path: str) -> int:
    """The seed of the part at `path`, in [0, 2**53)."""
    text = "\0".join((str(seed), *path))
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - SEED_BITS)
