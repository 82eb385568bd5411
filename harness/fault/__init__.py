"""Faults as data: how each is injected and healed, and what in the history shows that it bit."""

from harness.fault.kinds import FAULTS, FaultKind, Sign, World

__all__ = ["FAULTS", "FaultKind", "Sign", "World"]
