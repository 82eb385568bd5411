"""Faults as data: how each is injected and healed, and what in the history shows that it bit."""

from collections.abc import Mapping

from harness.fault import camera_kinds, site_kinds, storage_kinds
from harness.fault.kinds import MODEL, PROCESS, FaultKind, Sign, World

FAULTS: Mapping[str, FaultKind] = {
    fault.name: fault for fault in (*site_kinds.KINDS, *storage_kinds.KINDS, *camera_kinds.KINDS)
}

__all__ = ["FAULTS", "MODEL", "PROCESS", "FaultKind", "Sign", "World"]
