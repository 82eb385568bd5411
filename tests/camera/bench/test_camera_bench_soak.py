"""Endurance on a small scale: who comes, what they do, and how it is judged."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from harness.camera.bench import crowd as crowd_module
from harness.camera.bench import soak
from harness.camera.bench.crowd import ABUSE_S, KINDS, STAY_S, Abuse, Crowd
from harness.camera.bench.trend import Trend
from harness.camera.picture.clip import ClipSpec
from harness.camera.reader.drain import Drain
from harness.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from harness.camera.picture.clip import Clip
    from harness.camera.serve.server import CameraServer
    from tests.camera.conftest import Until

SMALL = ClipSpec(192, 108, 30.0, 1.0, 10, 100, 1, 1)
STEP_TICKS = 1500  # of the clip that the servers of these tests show
FLAT, RISING = Trend(100, 100, 0, False), Trend(100, 900, 800, True)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """That the whole machine may be too slow for a moment is not the matter here."""
    monkeypatch.setattr("harness.camera.serve.live.LATE_MAX_S", 30.0)


async def test_a_crowd_comes_and_goes(server: CameraServer, clip: Clip) -> None:
    for number in range(8):
        server.add(f"c{number}", clip, f"/camera-{number}", fast_start=True)

    def work() -> tuple[Crowd, list[int]]:
        with Drain(STEP_TICKS) as drain:
            crowd = Crowd(drain, server.port, 8, random.Random(1))
            sizes = []
            for now_s in (*range(8), *[STAY_S[1] + 8] * 4, *[2 * STAY_S[1]] * 4):
                crowd.step(float(now_s))
                drain.measure(0.05, 0.0)
                sizes.append(len(drain.readers))
            assert sum(reader.ear is not None for reader in drain.readers) == 4
            assert crowd.totals()["frames"] > 0
            return crowd, sizes

    crowd, sizes = await asyncio.to_thread(work)
    assert sizes[7] == 8  # all are there, one a step
    assert 6 in sizes[8:]  # two of them do not stay
    assert sizes[-1] == 8  # and come again
    assert crowd.counts == {"came": 10, "left": 2}
    assert crowd.totals()["missed"] == 0


async def test_who_is_refused_comes_again(server: CameraServer, clip: Clip) -> None:
    def step(crowd: Crowd, now_s: float) -> None:
        crowd.step(now_s)

    with Drain(STEP_TICKS) as drain:
        crowd = Crowd(drain, server.port, 1, random.Random(1))
        await asyncio.to_thread(step, crowd, 0.0)
        assert crowd.counts == {"refused": 1}
        server.add("late", clip, "/camera-0")
        await asyncio.to_thread(step, crowd, STAY_S[0] / 2)
        await asyncio.to_thread(step, crowd, STAY_S[0])
        assert crowd.counts == {"refused": 1, "came": 1}


@pytest.mark.parametrize("kind", KINDS)
async def test_abuse_harms_nobody(
    server: CameraServer, clip: Clip, until: Until, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add("door", clip, "/camera-0", fast_start=True)
    monkeypatch.setattr(crowd_module, "KINDS", {kind: KINDS[kind]})

    def work() -> tuple[int, int, int]:
        with Drain(STEP_TICKS) as drain:
            good = drain.connect("127.0.0.1", server.port, "/camera-0")
            abuse = Abuse(server.port, 1, random.Random(2))
            for now_s in range(10):
                abuse.step(float(now_s))
                drain.measure(0.02, 0.0)
            assert abuse.counts[kind] > 1
            before = server.connections
            abuse.step(2 * ABUSE_S)  # their time is over; one more comes
            drain.measure(0.1, 0.0)
            assert server.connections <= max(2, before)
            abuse.close()
            return good.missed, good.frames, drain.lost

    missed, frames, lost = await asyncio.to_thread(work)
    assert (missed, lost) == (0, 0)
    assert frames > 0
    await until(lambda: server.connections == 0)


def test_soak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "SAMPLE_S_MIN", 0.05)
    told: list[str] = []
    result = soak.run(2.0, 4, tmp_path, SMALL, told.append)
    json.dumps(result)
    assert result["readers"]["came"] >= 4
    assert result["readers"]["lost"] == 0
    assert result["frames"]["frames"] > 0
    assert len(result["samples"]) == len(told) > 1
    last = result["samples"][-1]
    assert last["readers"] >= 3
    assert last["files"] > 4
    assert last["tasks"] == 1
    assert set(result["trends"]) == set(soak.TOLERANCES)
    assert result["verdict"] in ("pass", "unknown")


@pytest.mark.parametrize(("seconds", "sessions"), [(0.0, 5), (1e9, 5), (1.0, 0), (1.0, 10**6)])
def test_bounds(seconds: float, sessions: int) -> None:
    with pytest.raises(InputError, match="a soak of"):
        soak.run(seconds, sessions)


def sample(frames: int, missed: int, disturbed: bool = False) -> dict[str, Any]:
    return {"frames": frames, "missed": missed, "disturbed": disturbed}


QUIET = [sample(0, 0), sample(1000, 0), sample(2000, 5)]
LOSSY = [sample(0, 0), sample(1000, 30), sample(2000, 60)]
BLAMELESS = [sample(0, 0), sample(1000, 0), sample(1900, 100, disturbed=True)]


@pytest.mark.parametrize(
    ("trends", "samples", "lost", "verdict", "why"),
    [
        ({"rss_kb": FLAT}, QUIET, 0, "pass", ""),
        ({"rss_kb": RISING}, QUIET, 0, "fail", "rss_kb grows: from 100 to 900"),
        ({"rss_kb": FLAT}, QUIET, 2, "fail", "2 readers were lost"),
        ({"rss_kb": FLAT}, LOSSY, 0, "fail", "60 of 2060 frames"),
        ({"rss_kb": FLAT}, BLAMELESS, 0, "unknown", "other work"),
        ({"rss_kb": FLAT, "files": None}, QUIET, 0, "unknown", "too short"),
        ({"rss_kb": RISING, "files": None}, QUIET, 0, "fail", "grows"),
        ({"rss_kb": FLAT}, [sample(0, 0)], 0, "unknown", "no frame came"),
    ],
)
def test_verdict(
    trends: dict[str, Trend | None],
    samples: list[dict[str, Any]],
    lost: int,
    verdict: str,
    why: str,
) -> None:
    found = soak.verdict(trends, samples, lost)
    assert found["verdict"] == verdict
    assert why in " ".join(found["why"])
    assert bool(found["why"]) is (verdict != "pass")
