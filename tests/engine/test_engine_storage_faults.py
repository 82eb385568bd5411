"""Faults of storage on every rung: each is noticed, healed and recovered from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("brief_settling")

IMAGES = {"6.3.1": {"size": "2MiB"}}
UPDATE = {
    "update": {"appliance": "north", "image": "6.3.1", "expect": "committed", "allow_major": True}
}


def fault(kind: str, for_s: str = "0s", target: str = "north", **parameters: Any) -> dict[str, Any]:
    held = {"kind": kind, "target": target, "for": for_s, "parameters": parameters}
    return {"fault": held}


def held(engine: str) -> str:
    """A look is taken every 10 s of device time."""
    return {"model": "15s", "process": "2s"}[engine]


@pytest.fixture(scope="module")
def ran(engine: str, runs: Any, make_plan: Callable[..., Any]) -> Any:
    workload = [
        fault("storage.read-only", held(engine)),
        fault("storage.full", held(engine)),
        fault("storage.slow", held(engine)),
        fault("storage.rot-application", target="counter"),
        UPDATE,  # from then on there is another slot to fall back to
        fault("storage.rot", part="kernel"),
        {"restore": {"appliance": "north", "to": "latest"}},
        fault("storage.rot", part="root"),
    ]
    checks = ["steps", "faults-bite", "recovers", "converges", "slots-safe", "frames-account"]
    return runs(
        make_plan(
            engine,
            deploy="counter",
            workload=workload,
            images=IMAGES,
            checks=checks,
            converge_within="5m",
        )
    )


def test_every_fault_is_noticed_and_recovered_from(ran: Any) -> None:
    assert ran.error is None
    assert [error for ok, error in ran.steps().values() if not ok] == []
    assert ran.outcome == ("completed", "")
    injected = [e.values["fault"] for e in ran.of("fault.injected")]
    for sign in ("fault.observed", "fault.healed", "fault.recovered"):
        assert sorted(e.values["fault"] for e in ran.of(sign)) == injected, sign
    assert ran.left == []


def test_trouble_with_the_data_partition_has_its_name(ran: Any) -> None:
    for kind in ("storage.trouble", "storage.clear"):
        assert [e.values["trouble"] for e in ran.of(kind)] == ["read-only", "full", "slow"]


def test_the_application_is_started_from_whole_files(ran: Any) -> None:
    (damaged,) = ran.of("app.damaged")
    assert damaged.values["instance"] == "counter"
    ran.find(
        ran.during("storage.rot-application on counter for 0 s"),
        ("app.damaged", {}),
        ("app.installed", {"instance": "counter"}),
        ("node.started", {"instance": "counter"}),
    )


def test_the_rotten_part_is_named_and_the_other_slot_runs(ran: Any) -> None:
    refused = [(e.values["part"], e.values["slot"]) for e in ran.of("boot.refused")]
    assert [part for part, _ in refused] == ["kernel", "root"]
    events = list(ran.history.events)
    for event in ran.of("boot.refused"):
        booted = next(e for e in events[events.index(event) :] if e.kind == "appliance.booted")
        assert booted.values["slot"] != event.values["slot"]


def test_a_box_that_no_slot_boots_is_brought_back_by_the_buttons(
    engine: str, runs: Any, make_plan: Callable[..., Any]
) -> None:
    rot = {"kind": "storage.rot", "target": "north", "parameters": {"part": "bootloader"}}
    workload = [{"observe": "4s"}, {"restore": {"appliance": "north", "to": "latest"}}]
    ran = runs(make_plan(engine, workload=workload, nemesis=[{"at": "1s", **rot}]))
    assert [error for ok, error in ran.steps().values() if not ok] == []
    ran.find(
        ran.history.events,
        ("boot.refused", {"slot": "a", "part": "bootloader"}),
        ("panel.led", {"led": "status", "colour": "red", "pattern": "fast"}),
        ("appliance.stopped", {"reason": "no-bootable-slot"}),
        ("restore.ended", {"ok": True}),
        ("appliance.booted", {"slot": "a"}),
        ("appliance.state", {"state": "online"}),
    )
    assert ran.of("fault.recovered")


def test_a_part_that_no_image_has_is_refused(make_plan: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match="`part` cannot be `logo`"):
        make_plan("model", workload=[fault("storage.rot", part="logo")])
