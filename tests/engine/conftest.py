"""Small sites as plans, runs of them on any rung, and their histories read back."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.engine import ENGINES, conduct, create
from harness.errors import HarnessError
from harness.record.head import Head
from harness.record.history import History, HistoryWriter
from harness.scenario import compile_plan, from_mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from harness.record.event import Event
    from harness.scenario.plan import Plan

ROOT = Path(__file__).parents[2]
PEOPLE_COUNTER = ROOT / "fixtures/apps/people-counter"
TIME_SCALE = 60


@dataclass(frozen=True)
class Ran:
    """A run that is over: its plan, its history read back, what the engine raised and left."""

    plan: Plan
    path: Path
    history: History
    error: HarnessError | None
    left: list[str]

    def of(self, *kinds: str) -> list[Event]:
        return [event for _, event in self.history.of(*kinds)]

    @property
    def outcome(self) -> tuple[str, str]:
        """Outcome and error of `run.ended`."""
        (ended,) = self.of("run.ended")
        return ended.values["outcome"], ended.values["error"]

    def steps(self) -> dict[str, tuple[bool, str]]:
        """Every step that ended: whether it was right, and its error."""
        ended = [event.values for event in self.of("step.ended")]
        return {values["step"]: (values["ok"], values["error"]) for values in ended}

    def during(self, step: str) -> list[Event]:
        """The events from the start of the step to its end."""
        events = list(self.history.events)
        marks = [number for number, event in enumerate(events) if event.values.get("step") == step]
        assert len(marks) == 2, (step, self.steps())
        return events[marks[0] + 1 : marks[1]]

    @staticmethod
    def find(events: Sequence[Event], *wanted: tuple[str, dict[str, Any]]) -> list[Event]:
        """The first events that match, one after the other; fails naming what did not come."""
        rest = iter(events)
        found: list[Event] = []
        for kind, values in wanted:
            match = next((e for e in rest if e.kind == kind and _has(e, values)), None)
            said = "\n".join(f"{e.kind} {dict(e.values)}" for e in events if e.kind == kind)
            assert match is not None, f"no {kind} {values} after {found[-1:]}; there were:\n{said}"
            found.append(match)
        return found


def _has(event: Event, values: dict[str, Any]) -> bool:
    return values.items() <= event.values.items()


@dataclass
class Leftovers:
    """What a run leaves behind of everything it may have made, in words."""

    found: list[str] = field(default_factory=list)

    @contextmanager
    def watched(self, directory: Path) -> Iterator[None]:
        """Temporary files of the block go to `directory`; its end is the moment of truth."""
        gc.collect()
        before = _possessions()
        temporary, tempfile.tempdir = tempfile.tempdir, str(directory)
        cancel_all = asyncio.runners._cancel_all_tasks  # type: ignore[attr-defined]
        asyncio.runners._cancel_all_tasks = self._tasks  # type: ignore[attr-defined]
        try:
            yield
        finally:
            tempfile.tempdir = temporary
            asyncio.runners._cancel_all_tasks = cancel_all  # type: ignore[attr-defined]
            self.found += [f"{kind} {name}" for kind, name in sorted(_possessions() - before)]
            self.found += [f"file {path.name}" for path in directory.iterdir()]

    def _tasks(self, loop: asyncio.AbstractEventLoop) -> None:
        """In place of what ends an event loop: every task should be over by then."""
        tasks = asyncio.all_tasks(loop)
        self.found += [f"task {task.get_name()}: {task.get_coro()}" for task in tasks]
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))


def _possessions() -> set[tuple[str, str]]:
    """Child processes, threads, and open sockets and pipes of this process."""
    me = os.getpid()
    held = {("thread", thread.name) for thread in threading.enumerate()}
    held |= {("process", str(pid)) for pid, parent in _parents() if parent == me}
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(descriptor)
        except OSError:
            continue  # the directory's own descriptor
        if target.startswith(("socket:", "pipe:")):
            held.add(("descriptor", target))
    return held


def _parents() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = entry.read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
        except OSError:
            continue  # it has ended
        yield int(entry.parent.name), int(after_name.split()[1])


class Runs:
    """Runs plans; each history is a new file in `directory`, and leftovers are looked for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = itertools.count()

    def __call__(
        self,
        plan: Plan,
        *,
        stop: threading.Event | None = None,
        listen: Callable[[Event], None] | None = None,
    ) -> Ran:
        engine = create(plan.engine)
        started = datetime.fromtimestamp(engine.epoch_s or 1e9, UTC)
        head = Head(
            plan.scenario, plan.seed, plan.engine, engine.grade, plan.digest, started, versions={}
        )
        folder = self._directory / f"run-{next(self._numbers)}"
        (folder / "tmp").mkdir(parents=True)
        path = folder / "history.jsonl"
        leftovers = Leftovers()
        error: HarnessError | None = None
        with HistoryWriter(path, head) as history, leftovers.watched(folder / "tmp"):
            if listen is not None:
                history.listen(listen)
            try:
                engine.run(plan, history, stop=stop or threading.Event())
            except HarnessError as raised:
                error = raised
        return Ran(plan, path, History.load(path), error, leftovers.found)


def plan_of(
    engine: str,
    *,
    workload: list[Any] | None = None,
    deploy: str | None = None,
    application: Path = PEOPLE_COUNTER,
    firmware: str = "6.2.1",
    seed: int = 5,
    folder: Path = ROOT,
    **more: Any,
) -> Plan:
    """A plan of one appliance, `north`; with `deploy`, an instance of that name and `door`.

    Paths in it start from `folder`, where profiles are looked for first.
    """
    bring_up: list[Mapping[str, Any]] = [{"provision": "north"}]
    data: dict[str, Any] = {
        "schema": 1,
        "name": "small",
        "seed": seed,
        "time_scale": TIME_SCALE,
        "site": {
            "appliances": {"north": {"profile": "panorama-appliance", "firmware": firmware}},
            "cameras": {},
        },
        "workload": workload or [],
        "checks": ["steps"],
        "stop_after": "1h",
        "converge_within": "30s",
    }
    if deploy is not None:
        data["site"]["cameras"] = {"door": {"profile": "generic-360p15"}}
        data["applications"] = {"people-counter": str(application)}
        step = {
            "application": "people-counter",
            "as": deploy,
            "on": "north",
            "inputs": {"camera_in": "door"},
        }
        bring_up.append({"deploy": step})
    data = {**data, "bring_up": bring_up, **more}
    scenario = from_mapping(data, folder=folder, base=ROOT)
    return compile_plan(scenario, engine=engine)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("histories"))


@pytest.fixture(scope="session")
def make_plan() -> Callable[..., Plan]:
    return plan_of


class Once:
    """A long run of each rung, made when it is first asked for."""

    def __init__(self, run: Callable[[str], Any]) -> None:
        self._run = run
        self._done: dict[str, Any] = {}

    def __getitem__(self, engine: str) -> Any:
        if engine not in self._done:
            self._done[engine] = self._run(engine)
        return self._done[engine]


@pytest.fixture(scope="session")
def once() -> type[Once]:
    return Once


@pytest.fixture(scope="module")
def brief_settling() -> Iterator[None]:
    """Half a second to settle: on the process rung it is real time, once for every run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conduct, "SETTLE_S", 0.5)
        yield


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name
