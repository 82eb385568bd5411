"""Memory on the model rung: when it is not enough for all, the kernel ends the largest."""

from __future__ import annotations

from typing import Any

ROOM = {"host": "1ms", "inference": "1ms"}


def deploy(instance: str, memory: str) -> dict[str, Any]:
    return {
        "deploy": {
            "application": "people-counter",
            "as": instance,
            "on": "north",
            "inputs": {"camera_in": "door"},
            "work": {**ROOM, "memory": memory},
        }
    }


def bring_up(*deploys: dict[str, Any]) -> dict[str, Any]:
    """On 32 GB, of which the system holds 2 GiB."""
    return {
        "bring_up": [{"provision": "north"}, deploys[0]],
        "workload": [*deploys[1:], {"observe": "3m"}],
    }


def killed(ran: Any) -> list[tuple[str, str]]:
    return [(e.values["instance"], e.values["reason"]) for e in ran.of("node.ended")]


def test_applications_that_fit_all_run(runs: Any, make_plan: Any) -> None:
    plan = make_plan(
        "model", deploy="one", **bring_up(deploy("one", "14GiB"), deploy("two", "13GiB"))
    )
    ran = runs(plan)
    assert ran.outcome == ("completed", "")
    assert killed(ran) == []


def test_the_largest_is_ended_when_they_do_not_fit(runs: Any, make_plan: Any) -> None:
    plan = make_plan(
        "model", deploy="one", **bring_up(deploy("small", "8GiB"), deploy("large", "26GiB"))
    )
    ran = runs(plan)
    assert set(killed(ran)) == {("large", "out of memory")}
    (line, *_) = [e.values["line"] for e in ran.of("log.line") if e.values["stream"] == "kern_log"]
    assert line == f"Out of memory: Killed process (large) anon-rss:{26 << 20}kB"
    # It is tried again and again, and the other one is left in peace.
    assert len(killed(ran)) >= 2
    assert {e.values["instance"] for e in ran.of("frames.window")} == {"small"}
