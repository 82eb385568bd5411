"""What a claim is worth: the grade of the run that it comes from."""

from __future__ import annotations

from types import MappingProxyType

GRADES = MappingProxyType(
    {
        "V": "virtual time: a simulation with modelled durations; nothing ran on a clock",
        "L": "loopback: real sockets, files and processes, with the harness's own fakes on both"
        " ends",
        "P": "live with an independent peer: one end is not ours",
        "D": "a real device",
    }
)


def meaning(grade: str) -> str:
    return GRADES.get(grade, "an unknown grade: take it as worth nothing")
