"""Screens of a site: the page on loopback, snapshots, and the history's words about both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp

from harness.engine.process import hdmi as module
from harness.engine.process.hdmi import Hdmi
from harness.record import kind
from harness.record.event import Event

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest


@dataclass(eq=False)
class Application:
    instance: str
    rate_fps: float = 0.0
    streams: int = 3
    tiled: bool = True

    def show(self, rate_fps: float) -> None:
        self.rate_fps = rate_fps


class Screens:
    def __init__(self, directory: Path) -> None:
        self.noted: list[tuple[str, str, dict[str, Any]]] = []
        self.hdmi = Hdmi(["north"], directory / "display", self.note, str.upper)

    def note(self, source: str, event_kind: str, values: Mapping[str, Any]) -> None:
        self.noted.append((source, event_kind, dict(values)))

    def of(self, event_kind: str) -> list[dict[str, Any]]:
        return [values for _, k, values in self.noted if k == event_kind]


async def test_the_first_picture_of_an_owner_and_the_next_after_an_event_are_kept(
    tmp_path: Path,
) -> None:
    screens, app = Screens(tmp_path), Application("a")
    screens.hdmi.started("north", app)
    for picture in (b"1", b"2"):
        screens.hdmi.picture("north", app, picture)
    screens.hdmi.see(Event(1.0, "nemesis", kind.FAULT_OBSERVED, {"fault": "f1"}))
    screens.hdmi.see(Event(1.0, "nemesis", kind.FAULT_HEALED, {"fault": "f1"}))
    for picture in (b"3", b"4"):
        screens.hdmi.picture("north", app, picture)
    screens.hdmi.stopped("north", app)
    assert screens.of(kind.DISPLAY) == [
        {"owner": "A", "streams": 3, "tiles": 3},
        {"owner": None, "streams": 0, "tiles": 0},
    ]
    kept = screens.of(kind.DISPLAY_SNAPSHOT)
    assert [one["why"] for one in kept] == ["first picture of A", "under fault f1"]
    assert [(tmp_path / "display" / one["file"]).read_bytes() for one in kept] == [b"1", b"3"]


async def test_a_firmware_without_tiles_shows_one_stream(tmp_path: Path) -> None:
    screens = Screens(tmp_path)
    screens.hdmi.started("north", Application("a", tiled=False))
    assert screens.of(kind.DISPLAY) == [{"owner": "A", "streams": 3, "tiles": 1}]


async def test_snapshots_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SNAPSHOTS_MAX", 2)
    screens, app = Screens(tmp_path), Application("a")
    for _ in range(4):
        screens.hdmi.started("north", app)
        screens.hdmi.picture("north", app, b"1")
        screens.hdmi.stopped("north", app)
    assert len(list((tmp_path / "display").iterdir())) == 2


async def test_the_page_shows_and_streams_what_is_on_the_screen(tmp_path: Path) -> None:
    screens, app = Screens(tmp_path), Application("a")
    url = await screens.hdmi.serve()
    try:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{url}north.jpg") as answer:
                assert answer.status == 404
            screens.hdmi.started("north", app)
            screens.hdmi.picture("north", app, b"\xff\xd8one")
            async with session.get(f"{url}north.jpg") as answer:
                assert await answer.read() == b"\xff\xd8one"
            async with session.get(url) as answer:
                assert "north.mjpeg" in await answer.text()
            async with session.get(f"{url}south.mjpeg") as answer:
                assert answer.status == 404
            async with session.get(f"{url}north.mjpeg") as answer:
                assert "boundary=picture" in answer.headers["Content-Type"]
                assert await answer.content.readuntil(b"one\r\n")
                assert app.rate_fps == 10.0
                screens.hdmi.picture("north", app, b"\xff\xd8two")
                part = await answer.content.readuntil(b"two\r\n")
                assert b"Content-Type: image/jpeg\r\nContent-Length: 5\r\n\r\n\xff\xd8two" in part
    finally:
        await screens.hdmi.close()
    assert screens.of(kind.DISPLAY_PAGE) == [{"url": url}]
