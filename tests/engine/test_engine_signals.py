"""A camera is paused and resumed through the API, on every rung: frames stop, and come back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness.engine import conduct
from harness.engine.site import Call, Elapsed, Pause, Poll

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.engine.conduct import Conductor
    from harness.engine.site import SiteProgram

POLLS_MAX = 600
HELD = {"model": 45.0, "process": 4.0}  # several windows of frames on each rung


def _node(instance: str) -> SiteProgram[str]:
    """Status of the camera node."""
    query = {"ApplicationInstanceId": instance}
    answer = yield Call("ListApplicationInstanceNodeInstances", query)
    nodes = {node["NodeInstanceId"]: node["CurrentStatus"] for node in answer["NodeInstances"]}
    return str(nodes["door"])


def _signal(instance: str, signal: str, status: str) -> SiteProgram[float]:
    """Send it, and wait for the appliance to have done so. Outcome: when that was seen."""
    signals = [{"NodeInstanceId": "door", "Signal": signal}]
    yield Call(
        "SignalApplicationInstanceNodeInstances",
        {"ApplicationInstanceId": instance, "NodeSignals": signals},
    )
    for _ in range(POLLS_MAX):
        if (yield from _node(instance)) == status:
            return float((yield Elapsed()))
        yield Poll()
    raise AssertionError(f"the camera is not {status}")


@pytest.fixture
def paused_run(
    engine: str, runs: Any, make_plan: Any, brief_settling: None, monkeypatch: pytest.MonkeyPatch
) -> tuple[Any, tuple[float, float]]:
    """A run with a pause before its end; from when to when the camera was held."""
    finish: Callable[[Conductor], SiteProgram[None]] = conduct.Conductor.finish
    span: list[float] = []

    def paused(conductor: Conductor) -> SiteProgram[None]:
        if not span:
            instance = conductor.instances["counter"]
            span.append((yield from _signal(instance, "PAUSE", "PAUSED")))
            yield Pause(HELD[engine])
            span.append((yield Elapsed()))
            yield from _signal(instance, "RESUME", "RUNNING")
        yield from finish(conductor)

    monkeypatch.setattr(conduct.Conductor, "finish", paused)
    ran = runs(make_plan(engine, deploy="counter", workload=[{"observe": "2s"}]))
    assert ran.error is None
    return ran, (span[0], span[1])


def test_no_frame_comes_of_a_paused_camera(paused_run: tuple[Any, tuple[float, float]]) -> None:
    ran, (from_s, to_s) = paused_run
    windows = [event.values for event in ran.of("frames.window")]
    held = [w["delivered"] for w in windows if w["from_s"] > from_s + 1.0 and w["to_s"] < to_s]
    assert len(held) >= 2
    assert sum(held) == 0
    assert sum(w["delivered"] for w in windows if w["to_s"] < from_s) > 0
    assert sum(w["delivered"] for w in windows if w["from_s"] >= to_s) > 0
    signalled = [event.values["paused"] for event in ran.of("node.signalled")]
    assert signalled == [["door"], []]
    # It was let go of, not lost, and no frame of it was.
    assert ran.of("camera.lost") == []
    assert len(ran.of("camera.connected")) == 2
    (account,) = ran.of("frames.account")
    assert account.values["lost_network"] == 0
    assert account.values["delivered"] > 0
    assert ran.left == []
    assert ran.outcome == ("completed", "")
