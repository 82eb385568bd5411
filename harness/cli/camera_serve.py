"""`harness camera serve`: cameras until they are stopped."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.camera.fleet.cameras import OFFLINE, serve
from harness.camera.fleet.control import ControlServer
from harness.camera.fleet.post import is_loopback, posts
from harness.camera.serve.capacity import settle
from harness.cli.stopping import stoppable
from harness.errors import InputError
from harness.scenario import ProfileLibrary, camera_profile
from harness.scenario.problem import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

    from harness.camera.fleet.cameras import Keeper, Row
    from harness.camera.fleet.post import Placing
    from harness.scenario.camera import CameraProfile

JSON_SCHEMA = 1
PASSWORD_VARIABLE = "HARNESS_CAMERA_PASSWORD"
LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for."""

    profiles: tuple[str, ...]
    count: int
    workers: int
    placing: Placing
    control: Path | None
    as_json: bool


def credentials(user: str | None) -> tuple[str, str]:
    """Name and password of `NAME[:PASSWORD]`; without one anybody may watch."""
    if user is None:
        return "", ""
    name, colon, password = user.partition(":")
    if not name:
        raise InputError("--user without a name", hint="--user NAME or --user NAME:PASSWORD")
    if not colon:
        password = os.environ.get(PASSWORD_VARIABLE, "")
        if not password and sys.stdin.isatty():
            password = click.prompt("Password of the cameras", hide_input=True, err=True)
    if not password:
        raise InputError(
            f"--user {name} without a password",
            hint=f"--user {name}:PASSWORD, or put it into {PASSWORD_VARIABLE}",
        )
    return name, password


def profiles(names: Iterable[str], folder: Path) -> list[CameraProfile]:
    """Camera profiles by name or file. Raises `InputError`."""
    library = ProfileLibrary(folder)
    found = []
    for name in names:
        path = Path(name) if name.endswith((".yaml", ".yml")) else library.find("cameras", name)
        if path is None:
            hint = did_you_mean(name, library.known("cameras"))
            raise InputError(f"unknown camera profile `{name}`", hint=hint)
        found.append(camera_profile(path))
    return found


def serve_until_stopped(wanted: Wanted) -> int:
    """Serve until SIGINT or SIGTERM. Gives the exit code: that is the way to end it, so 0."""
    return asyncio.run(_serve(wanted))


async def _serve(wanted: Wanted) -> int:
    kinds = profiles(wanted.profiles, Path.cwd())
    placing = wanted.placing
    posts(kinds, wanted.count, placing)  # what is wrong is said before anything else
    if not is_loopback(placing.host):
        _say(f"warning: others can reach {placing.host}; a camera without --user is open to them")
    serving = serve(kinds, count=wanted.count, workers=wanted.workers, placing=placing, tell=_say)
    async with serving as keeper, ControlServer(keeper, wanted.control) as control:
        settle()
        with stoppable() as stop:
            _announce(await keeper.rows(), control.path, wanted)
            await _watch(keeper, stop, sys.stderr)
    _say("stopped")
    return 0


def _announce(rows: tuple[Row, ...], control: Path, wanted: Wanted) -> None:
    if wanted.as_json:
        cameras = [dataclasses.asdict(row) for row in rows]
        value = {"schema": JSON_SCHEMA, "control": str(control), "cameras": cameras}
        print(json.dumps(value, indent=2), flush=True)
    else:
        print("\n".join(row.url for row in rows), flush=True)
    count = f"{len(rows)} camera{'' if len(rows) == 1 else 's'}"
    _say(f"serving {count} until Ctrl-C; control socket: {control}")


async def _watch(keeper: Keeper, stop: asyncio.Event, out: TextIO) -> None:
    """Look after the cameras, and say how they do, until `stop`."""
    view = View(out)
    while not stop.is_set():
        view.show(await keeper.rows(), time.monotonic())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOOK_EVERY_S)
    view.end()


class View:
    """One line: rewritten on a terminal, elsewhere a new one when something has changed."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._live = out.isatty()
        self._before: tuple[float, int] | None = None
        self._told: tuple[int, int, int] | None = None

    def show(self, rows: tuple[Row, ...], now_s: float) -> None:
        offline = sum(row.state == OFFLINE for row in rows)
        readers = sum(row.readers for row in rows)
        sessions = sum(row.sessions for row in rows)
        frames = sum(row.frames_sent for row in rows)
        then_s, before = self._before or (now_s, frames)
        rate = (frames - before) / (now_s - then_s) if now_s > then_s else 0.0
        self._before = (now_s, frames)
        state = (offline, readers, sessions)
        if not self._live and state == self._told:
            return
        self._told = state
        parts = (
            [f"{len(rows)} cameras", f"{offline} offline"] if offline else [f"{len(rows)} cameras"]
        )
        parts += [f"{readers} readers", f"{sessions} sessions", f"{frames} frames", f"{rate:.0f}/s"]
        line = ", ".join(parts)
        self._out.write(f"\r{line}\x1b[K" if self._live else f"{line}\n")
        self._out.flush()

    def end(self) -> None:
        if self._live:
            self._out.write("\n")
            self._out.flush()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
