"""The rungs: each turns effects and site commands into something. One protocol for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from harness.errors import InputError

if TYPE_CHECKING:
    import threading

    from harness.record.history import HistoryWriter
    from harness.scenario.plan import Plan

ENGINES = ("model", "process")


class Engine(Protocol):
    """A rung of fidelity.

    `grade` is what its claims are worth (V virtual, L loopback, P live peer, D device),
    `epoch_s` the fixed start of its virtual time, None where time is real.
    """

    name: str
    grade: str
    epoch_s: float | None

    def run(self, plan: Plan, history: HistoryWriter, *, stop: threading.Event) -> None:
        """Run a plan to its end; blocks. Everything that happens is in `history`.

        `stop` ends the run early and in good order: faults healed, accounts written,
        `run.ended` with outcome `interrupted`. Leaves nothing running behind.
        """


def create(name: str) -> Engine:
    """The engine called `name`. Raises `InputError` for an unknown one."""
    if name == "model":
        from harness.engine.model import ModelEngine

        return ModelEngine()
    if name == "process":
        from harness.engine.process import ProcessEngine

        return ProcessEngine()
    raise InputError(f"unknown engine {name!r}", hint=f"one of {', '.join(ENGINES)}")
