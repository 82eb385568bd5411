"""`harness run` and `harness report`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.cli.live import watching
from harness.cli.running import EXIT_CODES, Ran, execute, interruptible, load_plan, shown
from harness.cli.summary import COLOURS, show, stderr
from harness.errors import InputError
from harness.judge import evaluate
from harness.record.history import first_difference

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from harness.judge import Judgement
    from harness.scenario.plan import Plan

JSON_SCHEMA = 1
DIFFERS = 1


@dataclass(frozen=True, slots=True)
class Options:
    output: Path
    defects: tuple[str, ...] = ()
    twice: bool = False
    as_json: bool = False
    quiet: bool = False


def run(file: Path, engine: str | None, seed: int | None, options: Options) -> int:
    """Run a scenario file; see the options. Gives the exit code."""
    plan = load_plan(file, engine=engine, seed=seed, defects=options.defects)
    if options.twice and plan.engine != "model":
        hint = "add `--engine model`: only virtual time is the same twice"
        raise InputError(f"--twice does not go with the {plan.engine} rung", hint=hint)
    with interruptible() as stop:
        first = _once(plan, options, stop)
        again = _once(plan, options, stop) if options.twice and not stop.is_set() else None
    more: dict[str, Any] = {}
    if again is not None:
        difference = first_difference(first.run_dir.history, again.run_dir.history)
        more["first_difference"] = None if difference is None else str(difference)
    _print(first, options, more)
    return DIFFERS if more.get("first_difference") else first.exit_code


def report(run_dir: Path, *, as_json: bool) -> int:
    """Judge a run directory again. Gives the exit code of its verdict."""
    judgement = evaluate(run_dir)
    if as_json:
        _print_json(judgement, run_dir, {})
    else:
        _print_text(judgement, run_dir)
    return EXIT_CODES[judgement.verdict]


def _once(plan: Plan, options: Options, stop: threading.Event) -> Ran:
    with watching(plan, stderr(), quiet=options.quiet or options.as_json) as listener:
        return execute(plan, options.output, stop=stop, listen=listener)


def _print(ran: Ran, options: Options, more: dict[str, Any]) -> None:
    console = stderr()
    if ran.error is not None:
        console.print(f"run ended early: {ran.error}", style="bold red", markup=False)
        if ran.error.hint:
            console.print(f"hint: {ran.error.hint}", markup=False)
    if options.as_json:
        _print_json(ran.judgement, ran.run_dir.path, more)
        return
    if not options.quiet:
        show(ran, console)
    if "first_difference" in more:
        print(f"twice: {more['first_difference'] or 'the same, byte for byte'}")
    _print_text(ran.judgement, ran.run_dir.path)


def _print_text(judgement: Judgement, run_dir: Path) -> None:
    """The verdict, where the report is, and, last, how to run it again."""
    verdict = judgement.verdict.value
    if sys.stdout.isatty():
        from rich.console import Console

        Console(highlight=False).print(verdict, style=f"bold {COLOURS[verdict]}")
    else:
        print(verdict)
    print(f"report: {shown(run_dir / 'report.html')}")
    print(judgement.replay)


def _print_json(judgement: Judgement, run_dir: Path, more: dict[str, Any]) -> None:
    value = {"schema": JSON_SCHEMA, "run_dir": shown(run_dir), **more}
    print(json.dumps({**value, "judgement": judgement.to_json()}, indent=2, sort_keys=True))
