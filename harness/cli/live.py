"""Live progress on stderr: a small table on a terminal, at most a line a second elsewhere."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.cli.progress import Progress
from harness.record import kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from harness.record.event import Event
    from harness.scenario.plan import Plan

REFRESHES_PER_S = 4
LINE_EVERY_S = 1.0
COLOURS = {"online": "green", "offline": "red", "failed": "red", "off": "dim"}
TELLING = frozenset(
    (
        kind.PHASE_STARTED,
        kind.STEP_STARTED,
        kind.STATE,
        kind.FAULT_INJECTED,
        kind.FAULT_HEALED,
        kind.DISPLAY_PAGE,
    )
)


class Listener(Protocol):
    def __call__(self, event: Event) -> None: ...


@contextmanager
def watching(plan: Plan, console: Console, *, quiet: bool) -> Iterator[Listener | None]:
    """A listener for the history's events that shows them while the block runs."""
    progress = Progress.of(plan)
    if quiet:
        yield None
    elif console.is_terminal:
        view = _View(progress)
        with Live(view, console=console, refresh_per_second=REFRESHES_PER_S, transient=True):
            yield progress.see
    else:
        yield Lines(progress, lambda text: console.print(text, markup=False, soft_wrap=True))


class Lines:
    """Prints a line when something changed that a reader cares for, at most one a second."""

    def __init__(
        self,
        progress: Progress,
        show: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._progress = progress
        self._show = show
        self._clock = clock
        self._changed = False
        self._next_s = 0.0

    def __call__(self, event: Event) -> None:
        self._progress.see(event)
        self._changed = self._changed or event.kind in TELLING
        if not self._changed or self._clock() < self._next_s:
            return
        self._changed, self._next_s = False, self._clock() + LINE_EVERY_S
        self._show(self._progress.line())


class _View:
    """Drawn anew at every refresh from what is known then."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __rich__(self) -> Group:
        now = self._progress
        head = Text(f"{now.t_s:7.1f} s  ", style="bold")
        head.append(now.phase or "starting", style="cyan")
        head.append(f"  {now.step_text()}")
        parts: list[Text | Table] = [head, self._appliances()]
        if now.cameras:
            parts.append(Text("   ".join(f"{name} {n}" for name, n in now.cameras.items()), "dim"))
        if now.screens:
            parts.append(Text(f"screens: {now.screens}", "dim"))
        if now.faults:
            parts.append(Text(f"faults: {', '.join(now.faults.values())}", style="bold red"))
        return Group(*parts)

    def _appliances(self) -> Table:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for column in ("appliance", "state", "firmware", "LED", "FPS", ""):
            table.add_column(column, justify="right" if column == "FPS" else "left")
        for name, now in self._progress.appliances.items():
            fps = f"{sum(now.rate_fps.values()):.1f}" if now.rate_fps else ""
            state = Text(now.state, style=COLOURS.get(now.state, "yellow"))
            table.add_row(name, state, now.firmware, now.led, fps, now.note)
        return table
