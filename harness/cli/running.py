"""From a plan to a judged run directory; what the command line and the pytest plugin share."""

from __future__ import annotations

import platform
import signal
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from harness import __version__
from harness.engine import create
from harness.errors import EngineError, HarnessError
from harness.judge import CHECKERS, Verdict, evaluate, index_row
from harness.record import kind
from harness.record.event import Event
from harness.record.head import Head
from harness.record.history import HistoryWriter
from harness.record.rundir import INDEX_NAME, RunDir, RunIndex
from harness.scenario import compile_plan, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from harness.engine import Engine
    from harness.judge import Judgement
    from harness.scenario.loading import Scenario
    from harness.scenario.plan import Plan

INVOLVED = ("aiohttp", "aiomqtt", "amqtt", "av", "numpy", "onnxruntime", "simpy")
EXIT_CODES = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.UNKNOWN: 3}
INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Ran:
    """A run that has ended and was judged. `error` is what ended it early, if anything did."""

    run_dir: RunDir
    judgement: Judgement
    interrupted: bool
    error: HarnessError | None

    @property
    def exit_code(self) -> int:
        if self.error is not None:
            return self.error.exit_code
        return INTERRUPTED if self.interrupted else EXIT_CODES[self.judgement.verdict]


def known_checks() -> dict[str, tuple[str, ...]]:
    """Every checker's name with its parameters, as scenario files may use them."""
    return {name: tuple(sorted(checker.parameters)) for name, checker in CHECKERS.items()}


def load_scenario(path: Path) -> Scenario:
    """A valid scenario, its checks known to the judge. Raises `ScenarioInvalid`."""
    return load(path, known_checks=known_checks())


def load_plan(
    path: Path,
    *,
    seed: int | None = None,
    engine: str | None = None,
    defects: Sequence[str] = (),
) -> Plan:
    """Load, check and compile a scenario file. Raises `InputError`."""
    return compile_plan(load_scenario(path), seed=seed, engine=engine, defects=defects)


def execute(
    plan: Plan,
    reports: Path,
    *,
    stop: threading.Event,
    listen: Callable[[Event], None] | None = None,
    engine: Engine | None = None,
) -> Ran:
    """Run `plan` into a new directory under `reports`, judge it and put it into the index.

    Setting `stop` ends the run early: faults are healed and a partial report is written. What
    the engine raises on purpose ends the run, too, and is kept in `Ran.error`.
    """
    engine = engine or create(plan.engine)
    now = datetime.now(UTC)
    run_dir = RunDir.create(reports, plan.scenario, plan.seed, now)
    run_dir.write_plan(plan.to_json())
    error: HarnessError | None = None
    with HistoryWriter(run_dir.history, head(plan, engine, now)) as history:
        ending = _Ending()
        history.listen(ending)
        if listen is not None:
            history.listen(listen)
        try:
            engine.run(plan, history, stop=stop)
        except HarnessError as raised:
            error = raised
        if not ending.seen:
            said = str(error or "the engine did not end the run")
            values = {"outcome": "failed", "error": said}
            history.append(Event(ending.t_s, "scenario", kind.RUN_ENDED, values))
    judgement = evaluate(run_dir.path)
    row = replace(
        index_row(run_dir.path, judgement, reports), started=now
    )  # virtual time is no date
    RunIndex(reports / INDEX_NAME).put(row)
    return Ran(run_dir, judgement, stop.is_set(), error)


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; the second one ends the program.

    Only the main thread may set signal handlers; elsewhere the event is simply never set.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        print("stopping: faults are healed first; once more to abort", file=sys.stderr)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Ending:
    """Whether the engine wrote the end of the run, and when it wrote last."""

    def __init__(self) -> None:
        self.seen = False
        self.t_s = 0.0

    def __call__(self, event: Event) -> None:
        self.t_s = event.t_s
        self.seen = self.seen or event.kind == kind.RUN_ENDED


def head(plan: Plan, engine: Engine, now: datetime | None = None) -> Head:
    """The first line of a history; `now` is needed of an engine whose time is the world's."""
    started = now if engine.epoch_s is None else datetime.fromtimestamp(engine.epoch_s, UTC)
    assert started is not None
    return Head(
        scenario=plan.scenario,
        seed=plan.seed,
        engine=plan.engine,
        grade=engine.grade,
        plan=plan.digest,
        started=started,
        versions=versions(),
    )


def versions() -> dict[str, str]:
    """What takes part in a run: the harness, Python, and the libraries that matter."""
    found = {"harness": __version__, "python": platform.python_version()}
    for name in INVOLVED:
        try:
            found[name] = version(name)
        except PackageNotFoundError as missing:
            raise EngineError(f"package {name} is not installed", hint="make test") from missing
    return found


def shown(path: Path) -> str:
    """`path` as seen from the working directory when it lies below it."""
    here, path = Path.cwd(), path.resolve()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else str(path)
