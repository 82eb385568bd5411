from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Script


@pytest.fixture
def folder(pytester: pytest.Pytester, site_text: str) -> Path:
    """A test project with one scenario, and no asyncio mode."""
    options = "asyncio_mode = 'strict'\nasyncio_default_fixture_loop_scope = 'function'\n"
    pytester.makefile(".toml", pyproject="[tool.pytest.ini_options]\n" + options)
    path = pytester.mkdir("scenarios")
    (path / "site.yaml").write_text(site_text, encoding="utf-8")
    return path


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", *arguments)


def test_a_scenario_file_is_a_test(pytester: pytest.Pytester, folder: Path, script: Script) -> None:
    result = run(pytester, "scenarios", "-v", "--hil-seed", "5", "--hil-engine", "model")
    result.assert_outcomes(passed=1)
    (plan,) = script.seen
    assert (plan.seed, plan.engine, plan.source) == (5, "model", "scenarios/site.yaml")
    assert len(list(pytester.path.glob("reports/site/*/report.html"))) == 1


def test_a_failure_shows_findings_report_and_replay(
    pytester: pytest.Pytester, folder: Path, script: Script
) -> None:
    script.ok = False
    result = run(pytester, "scenarios", "--hil-output", "out", "--junitxml", "junit.xml")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "scenario site failed (grade L)",
            "  FAIL *steps:*",
            "report: out/site/*/report.html",
            "replay: harness run scenarios/site.yaml --engine process --seed 0",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    junit = (pytester.path / "junit.xml").read_text(encoding="utf-8")
    assert '<property name="hil_verdict" value="FAIL"' in junit


def test_unknown_fails_as_inconclusive(
    pytester: pytest.Pytester, folder: Path, script: Script
) -> None:
    script.silent = True
    result = run(pytester, "scenarios")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["scenario site inconclusive (grade L)", "  UNKNOWN *"])


def test_a_wrong_file_fails_with_its_places(
    pytester: pytest.Pytester, folder: Path, script: Script, site_text: str
) -> None:
    (folder / "site.yaml").write_text(site_text.replace("checks: [steps]", "check: []"))
    result = run(pytester, "scenarios")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["scenarios/site.yaml:*: unknown key `check`", "hint: *"])
    assert script.seen == []


def test_only_scenarios_are_collected(
    pytester: pytest.Pytester, folder: Path, script: Script, site_text: str
) -> None:
    (pytester.path / "other.yaml").write_text("schema: 1\nname: x\n", encoding="utf-8")
    (pytester.path / "mine.yaml").write_text(site_text, encoding="utf-8")
    result = run(pytester, "--collect-only", "-q")
    result.stdout.fnmatch_lines(["mine.yaml::mine", "scenarios/site.yaml::site"])
    result.stdout.no_fnmatch_line("*other*")


def test_fixtures_run_scenarios_written_in_python(
    pytester: pytest.Pytester, folder: Path, script: Script
) -> None:
    pytester.makepyfile(
        """
        import pytest

        DATA = {
            "schema": 1,
            "name": "inline",
            "site": {"appliances": {"a": {"profile": "lenovo-se70", "firmware": "6.2.1"}}},
            "bring_up": [{"provision": "a"}],
            "checks": ["steps"],
            "stop_after": "1m",
            "converge_within": "5s",
        }

        def test_mapping(hil_run):
            result = hil_run(DATA, seed=4)
            result.check()
            assert result.judgement.head.seed == 4
            assert result.history.of("run.ended")

        def test_file(hil_plan, hil_run):
            plan = hil_plan("scenarios/site.yaml", engine="model")
            assert plan.engine == "model"
            assert hil_run(plan).judgement.head.grade == "V"

        def test_wrong(hil_plan):
            with pytest.raises(Exception, match="unknown key `sed`"):
                hil_plan({**DATA, "sed": 1})
        """
    )
    run(pytester, "-k", "mapping or file or wrong", "--ignore=scenarios").assert_outcomes(passed=3)
    assert not (pytester.path / "reports").exists()


def test_check_raises_the_findings(pytester: pytest.Pytester, folder: Path, script: Script) -> None:
    script.ok = False
    pytester.makepyfile("def test_it(hil_run):\n    hil_run('scenarios/site.yaml').check()\n")
    result = run(pytester, "--ignore=scenarios")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*scenario site failed (grade L)"])


def test_an_interrupt_ends_the_session_after_the_report(
    pytester: pytest.Pytester, folder: Path, script: Script
) -> None:
    script.on_run = lambda: os.kill(os.getpid(), signal.SIGINT)
    result = pytester.inline_run("-p", "no:cacheprovider", "scenarios", no_reraise_ctrlc=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert list(pytester.path.glob("reports/site/*/report.html"))


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys, harness.pytest_plugin;"
        "heavy = {'yaml', 'pydantic', 'rich', 'click', 'aiohttp', 'av', 'numpy', 'simpy'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20
    )
    assert done.stdout.strip() == "[]"
