"""The buttons of an appliance, on every rung: off and on, restored, and as from the factory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness.scenario.problem import FileInvalid

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("brief_settling")

IMAGES = {"6.3.1": {"size": "1MiB"}}
WORKLOAD: list[Any] = [
    {"shutdown": "north"},
    {"power_on": "north"},
    {
        "update": {
            "appliance": "north", "image": "6.3.1", "expect": "committed", "allow_major": True
        }
    },
    {"restore": {"appliance": "north", "to": "latest"}},
    {"restore": {"appliance": "north", "to": "required"}},
    {"restore": {"appliance": "north", "to": "factory"}},
    {"provision": "north"},
]  # fmt: skip


@pytest.fixture(scope="module")
def ran(engine: str, runs: Any, make_plan: Callable[..., Any]) -> Any:
    return runs(make_plan(engine, deploy="counter", workload=WORKLOAD, images=IMAGES))


def test_every_press_does_what_it_is_documented_to_do(ran: Any) -> None:
    assert ran.error is None
    assert [error for ok, error in ran.steps().values() if not ok] == []
    assert ran.outcome == ("completed", "")
    assert ran.left == []


def test_the_power_button_shuts_down_and_powers_on(ran: Any) -> None:
    (stopped,) = [e for e in ran.during("shut down north") if e.kind == "appliance.stopped"]
    assert stopped.values["reason"] == "power-button"
    events = ran.during("power on north")
    ran.find(
        events,
        ("appliance.powered", {}),
        ("appliance.booted", {"version": "6.2.1"}),
        ("appliance.state", {"state": "online"}),
    )


@pytest.mark.parametrize(
    ("to", "pattern", "version"),
    [("latest", "slow", "6.3.1"), ("required", "fast", "6.2.1"), ("factory", "fast", "6.2.1")],
)
def test_software_is_restored_and_the_light_says_so(
    ran: Any, to: str, pattern: str, version: str
) -> None:
    ran.find(
        ran.during(f"restore north to {to}"),
        ("appliance.stopped", {"reason": "power-button"}),
        ("appliance.powered", {}),
        ("panel.led", {"led": "status", "colour": "orange", "pattern": pattern}),
        ("restore.ended", {"what": to, "ok": True}),
        ("panel.led", {"led": "status", "colour": "green", "pattern": "fast"}),
        ("appliance.booted", {"version": version}),
    )


def test_an_application_comes_back_unless_everything_was_erased(ran: Any) -> None:
    for to in ("latest", "required"):
        assert [e for e in ran.during(f"restore north to {to}") if e.kind == "node.started"]
    assert not [e for e in ran.during("restore north to factory") if e.kind == "node.started"]


def test_a_reset_appliance_is_a_new_device(ran: Any) -> None:
    devices = [event.values["device"] for event in ran.of("provision.ended")]
    assert len(devices) == len(set(devices)) == 2


@pytest.mark.parametrize(
    ("workload", "says"),
    [
        ([{"shutdown": "north"}], "`north` is off in the end"),
        ([{"power_on": "north"}], "`north` is not off"),
        ([{"shutdown": "north"}, {"reboot": "north"}, {"power_on": "north"}], "`north` is off"),
        (
            [{"restore": {"appliance": "north", "to": "factory"}}],
            "`north` is not provisioned in the end",
        ),
        ([{"restore": {"appliance": "noth", "to": "latest"}}], "unknown appliance `noth`"),
        ([{"restore": {"appliance": "north", "to": "newest"}}], "`newest`"),
    ],
)
def test_presses_that_cannot_work_are_refused_before_a_run(
    workload: list[Any], says: str, make_plan: Callable[..., Any]
) -> None:
    with pytest.raises(FileInvalid) as caught:
        make_plan("model", workload=workload)
    assert says in str(caught.value)
