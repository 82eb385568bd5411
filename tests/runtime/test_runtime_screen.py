"""Who owns the HDMI output, and who sees what is on it."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.runtime.screen import QUIET_FPS, WATCHED_FPS, Screen


@dataclass(eq=False)
class Application:
    instance: str
    rates: list[float] = field(default_factory=list)
    streams: int = 1
    tiled: bool = True

    def show(self, rate_fps: float) -> None:
        self.rates.append(rate_fps)


def test_the_most_recently_started_owns_the_screen_and_hands_it_back() -> None:
    changes: list[str | None] = []
    screen, one, two, three = Screen(changes.append), *map(Application, "abc")
    for application in (one, two, three):
        screen.started(application)
    screen.stopped(two)
    screen.stopped(three)
    screen.stopped(one)
    screen.stopped(one)
    assert changes == ["a", "b", "c", "a", None]
    assert one.rates == [QUIET_FPS, 0.0, QUIET_FPS, 0.0]


def test_the_picture_of_who_lost_the_screen_is_not_shown() -> None:
    screen, one, two = Screen(), Application("a"), Application("b")
    screen.started(one)
    assert screen.picture(one, b"one")
    screen.started(two)
    assert screen.jpeg is None
    assert not screen.picture(one, b"late")
    assert screen.picture(two, b"two")
    assert screen.jpeg == b"two"


async def test_viewers_raise_the_rate_and_get_the_newest_picture() -> None:
    screen, one = Screen(), Application("a")
    screen.started(one)
    screen.picture(one, b"before")
    viewer = screen.watch()
    assert one.rates[-1] == WATCHED_FPS
    screen.picture(one, b"now")
    assert await viewer.get() == b"now"
    screen.leave(viewer)
    assert one.rates[-1] == QUIET_FPS
