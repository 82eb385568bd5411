"""The crash sweep: power is cut at every moment of a road, and of the recovery, and so on.

One run of the road is the trunk. At each of its moments a cut leaves one state for every class
of what may survive of the unsynced writes; each state that no boot could tell from an earlier
one is booted, given rest, and asked for what must hold. With a depth of two its own recovery is
such a trunk again. States are copies on write, so the trunk is run once, not once a cut.
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from harness.appliance.storage import Survival, grown, survivals
from harness.engine.sweep import truth
from harness.engine.sweep.road import OLD, Load, road
from harness.engine.sweep.stand import provisioned_box
from harness.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.appliance.storage import Disk
    from harness.engine.sweep.box import Box
    from harness.engine.sweep.road import Road

    Survivors: TypeAlias = Mapping[str, Sequence[Survival]]

SUBSETS_MAX = 64  # every subset of survivors up to so many; beyond that, classes of them
BLOCK_MOMENTS = 64  # neighbours often leave the same state: one worker sees both
FAILURES_MAX = 20  # then a sweep stops: what is broken is known
DEPTH_MAX = 3
_PATH = re.compile(r"\d+\.\d+(-\d+\.\d+)*")


@dataclass(frozen=True, slots=True)
class Cut:
    """Power is lost before moment `moment`, and what survives is class `survivors`."""

    moment: int
    survivors: int


Path: TypeAlias = tuple[Cut, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """A state that breaks what must hold; `path` leads to it, an empty one without any cut."""

    path: Path
    broken: tuple[str, ...]


@dataclass(slots=True)
class Findings:
    """What a sweep saw. `states` are the cuts that differ: no boot could tell the rest apart."""

    moments: int = 0
    cuts: int = 0
    states: set[int] = field(default_factory=set)
    failures: list[Failure] = field(default_factory=list)
    outcomes: dict[str, int] = field(default_factory=dict)  # how the job ended: how often
    complete: bool = True

    def merge(self, other: Findings) -> None:
        self.cuts += other.cuts
        self.states |= other.states
        self.failures += other.failures
        self.complete = self.complete and other.complete
        self.moments = max(self.moments, other.moments)
        for outcome, times in other.outcomes.items():
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + times


@dataclass(frozen=True, slots=True)
class Share:
    """Of the trunk's moments those that `worker` of `workers` looks at."""

    worker: int = 0
    workers: int = 1

    def has(self, moment: int) -> bool:
        return moment // BLOCK_MOMENTS % self.workers == self.worker


def path_text(path: Path) -> str:
    """The replay id, such as `132.1-57.0`."""
    return "-".join(f"{cut.moment}.{cut.survivors}" for cut in path)


def parse_path(text: str) -> Path:
    """Raises `InputError`."""
    if not _PATH.fullmatch(text):
        raise InputError(f"{text!r} is no replay id", hint="it looks like 132.1 or 132.1-57.0")
    cuts = (part.split(".") for part in text.split("-"))
    return tuple(Cut(int(moment), int(survivors)) for moment, survivors in cuts)


def classes(disk: Disk) -> Iterator[Survivors]:
    """What a cut may leave of the unsynced writes of a disk: never empty, never twice the same.

    Every combination as long as there are few; else none, all, and each write alone lost, torn
    or kept among the others.
    """
    places: list[str] = []
    options: list[tuple[Survival, ...]] = []
    for name, part in disk.partitions.items():
        for offset, content in part.pending:
            places.append(name)
            options.append(survivals(offset, content, grown(part.durable_blobs, offset, content)))
    few = math.prod(map(len, options)) <= SUBSETS_MAX
    for chosen in itertools.product(*options) if few else _telling(options):
        survivors: dict[str, list[Survival]] = {}
        for name, survival in zip(places, chosen, strict=True):
            survivors.setdefault(name, []).append(survival)
        yield survivors


def _telling(options: list[tuple[Survival, ...]]) -> Iterator[tuple[Survival, ...]]:
    for rest in (Survival.LOST, Survival.WHOLE):
        base = [rest] * len(options)
        yield tuple(base)
        for index, possible in enumerate(options):
            for survival in possible:
                if survival != rest:
                    yield (*base[:index], survival, *base[index + 1 :])


class Sweep:
    """One sweep of one road. `states_max` bounds it; what was left out is then said."""

    def __init__(
        self,
        name: str,
        load: Load,
        *,
        depth: int = 1,
        share: Share | None = None,
        states_max: int = 10_000_000,
    ) -> None:
        if not 1 <= depth <= DEPTH_MAX:
            raise InputError(f"depth {depth}", hint=f"from 1 to {DEPTH_MAX}")
        self.road: Road = road(name)
        self.load = load
        self.depth = depth
        self.share = share or Share()
        self.states_max = states_max
        self.findings = Findings()
        self._reach: dict[int, int] = {}  # state -> the depth it was looked at with
        self._device = truth.settings(provisioned_box("door", version=OLD))["device"]

    def run(self) -> Findings:
        trunk = self.road.begin(self.load)
        trunk.moments = 0
        self._watch(trunk, (), self.depth)
        ended = trunk.run(lambda: self.road.ended(trunk) or self._enough())
        self.findings.moments = trunk.moments
        if self.share.worker == 0 and self.findings.complete:
            missed = self.road.goal(trunk, self.load) if ended else "the road has no end"
            if missed:
                self.findings.failures.append(Failure((), (f"reaches-goal: {missed}",)))
        return self.findings

    def _enough(self) -> bool:
        findings = self.findings
        if len(findings.failures) < FAILURES_MAX and len(findings.states) < self.states_max:
            return False
        findings.complete = False
        return True

    def _watch(self, box: Box, path: Path, depth: int) -> None:
        seen, same = (-1, -1), 0

        def look(box: Box) -> None:
            nonlocal seen, same
            if not path and not self.share.has(box.moments):
                return
            stamp = (box.disk.changes, box.cloud.changes)
            if stamp == seen:  # nothing happened that a cut could leave
                self.findings.cuts += same
                return
            seen, same = stamp, 0
            for number, survivors in enumerate(classes(box.disk)):
                same += 1
                self.findings.cuts += 1
                self._look_at(box, survivors, (*path, Cut(box.moments, number)), depth)

        box.watch = look

    def _look_at(self, box: Box, survivors: Survivors, path: Path, depth: int) -> None:
        if self._enough():
            return
        state = box.after_cut(survivors)
        key = hash((state.disk.durable_key(), state.cloud.key(), state.stick is None))
        if self._reach.get(key, 0) >= depth:
            return
        self._reach[key] = depth
        self.findings.states.add(key)
        self._recover(state, path, depth)

    def _recover(self, state: Box, path: Path, depth: int) -> None:
        if depth > 1:
            self._watch(state, path, depth - 1)
        broken = self.judge(state)
        if broken and len(self.findings.failures) < FAILURES_MAX:
            self.findings.failures.append(Failure(path, broken))

    def judge(self, state: Box) -> tuple[str, ...]:
        """What is broken of a state once it has had power and rest."""
        truth.settle(state)
        state.watch = None
        self.road.help(state)
        outcome = _outcome(state)
        self.findings.outcomes[outcome] = self.findings.outcomes.get(outcome, 0) + 1
        return tuple(truth.violations(state, self._device, *self.road.versions))


def _outcome(state: Box) -> str:
    booted = state.noted("appliance.booted")
    version = booted[-1]["version"] if booted else "nothing"
    ends = [f"{job['doc']['operation']} {job['status']}" for job in state.cloud.jobs.values()]
    return ", ".join((f"runs {version}", *ends))


@dataclass(frozen=True, slots=True)
class Replay:
    """One path again: what was unsynced at each cut, what the box told since, what is broken."""

    cuts: tuple[str, ...]
    notes: tuple[str, ...]
    broken: tuple[str, ...]


def replay(name: str, load: Load, path: Path) -> Replay:
    """Follow one path of a sweep and look closely. Raises `InputError` when there is none such."""
    sweep = Sweep(name, load)
    box = sweep.road.begin(load)
    box.moments = 0
    cuts = []
    for cut in path:
        survivors, state = _follow(box, cut)
        if state is None:
            raise InputError(
                f"{path_text(path)}: nothing can be cut at {path_text((cut,))}",
                hint="give the image size and the defects of the sweep that printed it",
            )
        cuts.append(f"before moment {cut.moment}: {_told(survivors)}")
        box = state
    broken = sweep.judge(box)
    return Replay(tuple(cuts), tuple(f"{kind} {values}" for kind, values in box.notes), broken)


def _follow(box: Box, cut: Cut) -> tuple[Survivors, Box | None]:
    """Give the box power and time until the moment of the cut, and take what it leaves."""
    found: list[tuple[Survivors, Box]] = []

    def look(box: Box) -> None:
        if box.moments == cut.moment:
            possible = list(classes(box.disk))
            if cut.survivors < len(possible):
                survivors = possible[cut.survivors]
                found.append((survivors, box.after_cut(survivors)))

    box.watch = look
    if not box.powered:
        box.power_up()
    box.run(lambda: bool(found), for_s=truth.REST_S)
    return found[0] if found else ({}, None)


def _told(survivors: Survivors) -> str:
    parts = (f"{name} {'/'.join(s.name.lower() for s in each)}" for name, each in survivors.items())
    return ", ".join(parts) or "nothing unsynced"
