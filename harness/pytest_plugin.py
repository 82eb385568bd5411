"""pytest: scenario files as tests, and fixtures for scenarios written in Python.

    pytest scenarios/                       every scenario file is a test
    pytest --hil-engine model --hil-seed 3  on another rung, with another seed

    def test_reboot(hil_run):
        result = hil_run("scenarios/first-light.yaml", engine="model")
        result.check()                      # fails with the findings unless the verdict is PASS
        assert result.history.of("appliance.booted")

Loaded in every pytest run, so everything else is imported when it is first needed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from harness.cli.running import Ran
    from harness.judge import Judgement
    from harness.record.history import History
    from harness.scenario.plan import Plan

SCENARIO_FOLDER = "scenarios"
HEAD_BYTES = 64 * 1024  # as much of a YAML file as is looked at to see whether it is a scenario
_SCENARIO = (re.compile(rb"^schema:", re.MULTILINE), re.compile(rb"^site:", re.MULTILINE))
REPORTS = "reports"

Source: TypeAlias = "Plan | Mapping[str, Any] | Path | str"


class ScenarioFailed(AssertionError):
    """A run did not pass; the message holds what a reader needs to go on."""


@dataclass(frozen=True, slots=True)
class HilResult:
    """A judged run: the verdict, the history it rests on, and where everything lies."""

    judgement: Judgement
    history: History
    run_dir: Path
    error: Exception | None

    def check(self) -> None:
        """Raise `ScenarioFailed`, with findings, report and replay command, unless it passed."""
        if self.error is not None or self.judgement.verdict.value != "PASS":
            raise ScenarioFailed(_failure(self))


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("hil", "hardware-in-the-loop scenarios")
    group.addoption("--hil-engine", metavar="RUNG", help="run scenarios on this rung")
    group.addoption("--hil-seed", type=int, metavar="N", help="run scenarios with this seed")
    group.addoption(
        "--hil-output", type=Path, metavar="DIR", help=f"folder of all runs (default: {REPORTS})"
    )


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.suffix == ".yaml" and _is_scenario(file_path):
        return ScenarioFile.from_parent(parent, path=file_path)
    return None


def _is_scenario(path: Path) -> bool:
    """Whether a YAML file is for us: by its folder, so that broken ones fail, or its keys."""
    if path.parent.name == SCENARIO_FOLDER:
        return True
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    return all(pattern.search(head) for pattern in _SCENARIO)


class ScenarioFile(pytest.File):
    """A scenario file: one test."""

    def collect(self) -> Iterable[pytest.Item]:
        yield ScenarioItem.from_parent(self, name=self.path.stem)


class ScenarioItem(pytest.Item):
    """Runs the scenario and fails unless the verdict is PASS."""

    def runtest(self) -> None:
        options = self.config.option
        plan = _plan(self.path, self.path.parent, options.hil_engine, options.hil_seed)
        result = _run(plan, options.hil_output or Path(REPORTS))
        judgement = result.judgement
        from harness.cli.running import shown

        self.user_properties += [
            ("hil_verdict", judgement.verdict.value),
            ("hil_grade", judgement.head.grade),
            ("hil_report", shown(result.run_dir / "report.html")),
            ("hil_replay", judgement.replay),
        ]
        result.check()

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        from harness.errors import HarnessError

        error = excinfo.value
        if isinstance(error, ScenarioFailed):
            return str(error)
        if isinstance(error, HarnessError):
            return f"{error}\nhint: {error.hint}" if error.hint else str(error)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"scenario {self.name}"


@pytest.fixture
def hil_plan(request: pytest.FixtureRequest) -> Callable[..., Plan]:
    """`hil_plan(source, seed=None, engine=None) -> Plan`.

    `source` is a scenario file (a path relative to the test's folder, else to the working
    directory) or a mapping in the shape of one, whose paths start from the test's folder.
    """

    def make(source: Source, *, seed: int | None = None, engine: str | None = None) -> Plan:
        options = request.config.option
        return _plan(
            source,
            request.path.parent,
            options.hil_engine if engine is None else engine,
            options.hil_seed if seed is None else seed,
        )

    return make


@pytest.fixture
def hil_run(
    request: pytest.FixtureRequest, hil_plan: Callable[..., Plan], tmp_path: Path
) -> Callable[..., HilResult]:
    """`hil_run(source, seed=None, engine=None) -> HilResult`; `source` may be a `Plan`, too.

    Runs go to `--hil-output`, by default to a folder in `tmp_path`. Blocks until the run ended.
    """

    def run(source: Source, *, seed: int | None = None, engine: str | None = None) -> HilResult:
        plan = hil_plan(source, seed=seed, engine=engine)
        return _run(plan, request.config.option.hil_output or tmp_path / REPORTS)

    return run


def _plan(source: Source, folder: Path, engine: str | None, seed: int | None) -> Plan:
    from harness.cli import running
    from harness.scenario import compile_plan, from_mapping
    from harness.scenario.plan import Plan

    if isinstance(source, Plan):
        return source
    if isinstance(source, (str, Path)):
        beside = folder / source
        path = beside if beside.exists() else Path(source)
        return running.load_plan(path, engine=engine, seed=seed)
    scenario = from_mapping(source, folder=folder, known_checks=running.known_checks())
    return compile_plan(scenario, engine=engine, seed=seed)


def _run(plan: Plan, reports: Path) -> HilResult:
    from harness.cli.running import execute, interruptible
    from harness.record.history import History

    with interruptible() as stop:
        ran: Ran = execute(plan, reports, stop=stop)
    if ran.interrupted:
        raise KeyboardInterrupt
    history = History.load(ran.run_dir.history, accept_truncated=True)
    return HilResult(ran.judgement, history, ran.run_dir.path, ran.error)


def _failure(result: HilResult) -> str:
    from harness.cli.running import shown

    judgement = result.judgement
    verdict = judgement.verdict.value
    words = {"UNKNOWN": "inconclusive", "FAIL": "failed", "PASS": "passed, but ended early"}
    lines = [f"scenario {judgement.head.scenario} {words[verdict]} (grade {judgement.head.grade})"]
    if result.error is not None:
        lines.append(f"  run ended early: {result.error}")
    lines += [
        f"  {finding.verdict.value:8}{finding.checker}: {finding.message}"
        for finding in judgement.findings
        if finding.verdict.value != "PASS"
    ]
    lines += [f"report: {shown(result.run_dir / 'report.html')}", f"replay: {judgement.replay}"]
    return "\n".join(lines)
