"""The one canonical form of JSON values, and their digest: what plans and packages are named by."""

from __future__ import annotations

import hashlib
import json
from typing import Any

canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def digest(value: Any) -> str:
    """SHA-256 (hex) of the canonical form: equal values, equal digests, whatever their order."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()
