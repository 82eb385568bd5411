"""Applications: installed by hash, started after every boot, restarted, removed without trace."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from harness.appliance.agent import BACKOFF_MAX_S
from harness.appliance.applications import ASSETS_AT, RESTARTS_BEFORE_ERROR, _allocate
from harness.appliance.demand import Demand
from harness.appliance.transfer import GIVE_UP_S
from harness.engine.sweep.cloud import sha256
from harness.engine.sweep.stand import online_box, provisioned_box
from harness.engine.sweep.truth import settings, settle, violations
from harness.errors import StorageFull

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.engine.sweep.box import Box

CODE, MODEL = b"code of the application", b"weights of the model"
ASSETS = {"code": CODE, "model": MODEL}


def _runs(box: Box, *instances: str) -> bool:
    return set(box.nodes) == set(instances) and box.idle


def _failure(box: Box, instance: str = "door") -> str:
    """Wait for an install error. Outcome: its reason."""
    assert box.run(lambda: box.cloud.reported.get(instance, {}).get("status") == "INSTALL_ERROR")
    reason = str(box.cloud.reported[instance]["reason"])
    assert box.noted("app.install-failed")[-1] == {"instance": instance, "reason": reason}
    assert instance not in box.nodes
    assert instance not in settings(box).get("applications", {})
    return reason


# --- install --------------------------------------------------------------------------------------


def test_an_application_is_fetched_verified_recorded_and_started() -> None:
    box = online_box()
    document = box.cloud.deploy("door", ASSETS)
    assert box.run(lambda: _runs(box, "door"))
    assert [status for _, status in box.cloud.statuses] == [
        "INSTALL_IN_PROGRESS",
        "STARTING",
        "RUNNING",
    ]
    text = json.dumps(document).encode()
    assert box.nodes["door"] == {sha256(data): data for data in (CODE, MODEL, text)}
    (installed,) = box.noted("app.installed")
    assert installed["bytes"] == len(CODE) + len(MODEL) + len(text)
    assert box.noted("node.started") == [{"instance": "door", "attempt": 1}]
    assert set(settings(box)["applications"]) == {"door"}


def test_an_asset_that_is_here_already_is_not_fetched_again() -> None:
    box = online_box()
    box.cloud.deploy("door", ASSETS)
    assert box.run(lambda: _runs(box, "door"))
    box.cloud.deploy("hall", {"code": b"other code", "model": MODEL})
    assert box.run(lambda: _runs(box, "door", "hall"))
    assert [url for url, _ in box.fetches] == [
        "asset/door/code",
        "asset/door/model",
        "asset/hall/code",
    ]


def test_a_wrong_asset_is_an_install_error_that_names_it() -> None:
    box = online_box()
    box.cloud.deploy("door", ASSETS)
    box.cloud.content["asset/door/model"] = MODEL[:-1] + b"X"
    assert "asset code/model: hash is not" in _failure(box)


def test_a_wrong_document_is_an_install_error() -> None:
    box = online_box()
    document = box.cloud.deploy("door", ASSETS)
    box.cloud.content["document/door"] = json.dumps({**document, "name": "other"}).encode()
    assert "deployment document of door: hash does not match" in _failure(box)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{", "deployment document: "),
        (b"\xff\xfe\xfd", "deployment document: "),
        (b"[]", "not a JSON object"),
        (b"{}", "'packages' is missing"),
        (b'{"packages": [{"name": "code"}]}', "'assets' is missing"),
        (b'{"packages": [{"name": "code", "assets": [{"name": "model"}]}]}', "'sha256' is missing"),
        (b'{"packages": 5}', "deployment document: "),
    ],
)
def test_a_document_of_the_wrong_form_is_an_install_error(text: bytes, reason: str) -> None:
    box = online_box("hall")
    box.cloud.publish_document("door", text)
    assert reason in _failure(box)
    assert set(box.nodes) == {"hall"}


def test_an_asset_that_nobody_serves_is_an_install_error() -> None:
    box = online_box()
    box.cloud.deploy("door", ASSETS)
    del box.cloud.content["asset/door/code"]
    assert "404" in _failure(box)


def test_no_room_is_an_install_error_and_harms_nobody() -> None:
    box = online_box("hall")
    box.cloud.deploy("door", {"code": CODE, "model": bytes(1 << 20)})
    assert "no room for 1048576 bytes" in _failure(box)
    box.cloud.remove("door")
    box.cloud.deploy("yard", {"code": CODE})
    assert box.run(lambda: _runs(box, "hall", "yard"))
    assert "door" not in box.cloud.reported


def test_the_document_of_a_running_application_is_never_written_over() -> None:
    """Two instances may share a document; the second time something else is served."""
    box = online_box()
    box.cloud.deploy("door", ASSETS)
    assert box.run(lambda: _runs(box, "door"))
    same = dict(box.cloud.desired["door"])
    text = box.cloud.content["document/door"]
    assert isinstance(text, bytes)
    box.cloud.content["document/door"] = text.replace(b"door", b"dooX")
    box.cloud.desire("twin", same)
    box.run(for_s=100.0)
    box.cut_power()
    box.power_up()
    assert box.run(lambda: box.online and "door" in box.nodes)
    assert box.nodes["door"][same["sha256"]] == text


# --- demands that this appliance does not meet ----------------------------------------------------

MODEL_NODE = Demand(codes=("code",), models=("detector",))
GPU = Demand(codes=("web",), gpu=("web",))


@pytest.mark.parametrize(
    ("version", "demand", "reason"),
    [
        (
            "5.0.7",
            Demand(codes=("a", "b")),
            "nodes 'a', 'b': one code node an application from firmware 5.0.7 on; this is 5.0.7",
        ),
        (
            "8.0.29",
            MODEL_NODE,
            "node 'detector': no compiled model runs from firmware 8.0.29 on; this is 8.0.29",
        ),
    ],
)
def test_what_the_firmware_cannot_run_is_an_install_error(
    version: str, demand: Demand, reason: str
) -> None:
    box = online_box(version=version)
    box.cloud.deploy("door", ASSETS, demand)
    assert _failure(box) == reason
    assert box.fetches == [], "nothing of it was downloaded"


def test_two_code_nodes_run_before_that_was_fixed() -> None:
    box = online_box(version="4.3.93")
    box.cloud.deploy("door", ASSETS, Demand(codes=("a", "b")))
    assert box.run(lambda: _runs(box, "door"))


def test_gpu_access_and_model_nodes_exclude_each_other_on_one_appliance() -> None:
    box = online_box()
    box.cloud.deploy("hall", ASSETS, MODEL_NODE)
    assert box.run(lambda: _runs(box, "hall"))
    box.cloud.deploy("door", {"code": b"own runtime"}, GPU)
    assert _failure(box) == (
        "node 'web': no GPU access beside model nodes, as is node 'detector' of hall"
    )
    assert set(box.nodes) == {"hall"}


def test_who_is_about_to_go_is_in_nobodys_way() -> None:
    """A replacement: the new instance is installed before the old one is removed."""
    box = online_box()
    box.cloud.deploy("hall", ASSETS, MODEL_NODE)
    assert box.run(lambda: _runs(box, "hall"))
    box.cloud.desired["hall"] = {"state": "REMOVED"}
    box.cloud.deploy("door", {"code": b"own runtime"}, GPU)
    assert box.run(lambda: _runs(box, "door"))


def test_an_update_is_committed_without_the_applications_that_it_cannot_run() -> None:
    box = online_box(version="7.0.13")
    box.cloud.deploy("door", ASSETS, MODEL_NODE)
    assert box.run(lambda: _runs(box, "door"))
    box.cloud.order({**box.cloud.offer("8.0.29"), "allowMajorVersionUpdate": True})
    assert box.run(lambda: box.cloud.reported["door"]["status"] == "LAUNCH_ERROR")
    reason = "node 'detector': no compiled model runs from firmware 8.0.29 on; this is 8.0.29"
    assert box.cloud.reported["door"]["reason"] == reason
    box.run(for_s=3600.0)
    assert box.noted("ota.ended")[-1]["outcome"] == "committed"
    ended = [values for values in box.noted("node.ended") if values["reason"] == reason]
    assert len(ended) == 1, "it is not tried again and again"
    assert "door" in settings(box)["applications"]
    assert box.nodes == {}


def test_an_install_goes_on_when_the_link_is_back() -> None:
    box = online_box()
    box.break_after_steps = 1
    box.cloud.deploy("door", ASSETS)
    assert box.run(lambda: box.uplink == "broken")
    box.run(for_s=60.0)
    box.mend_link()
    assert box.run(lambda: box.cloud.reported["door"]["status"] == "RUNNING")
    assert [start for url, start in box.fetches if url == "asset/door/code"] == [0]


def test_an_install_that_was_given_up_is_taken_up_again_with_the_link() -> None:
    box = online_box()
    box.break_after_steps = 0
    box.cloud.deploy("door", ASSETS)
    box.run(for_s=GIVE_UP_S + 100.0)
    assert len(box.noted("app.install-failed")) == 1
    box.mend_link()
    assert box.run(lambda: _runs(box, "door"))


# --- run ------------------------------------------------------------------------------------------


def test_a_crash_is_an_error_that_is_started_again_later_every_time() -> None:
    box = online_box()
    box.crashes["door"] = RESTARTS_BEFORE_ERROR
    box.cloud.deploy("door", ASSETS)
    assert box.run(lambda: len(box.noted("node.started")) == RESTARTS_BEFORE_ERROR + 1)
    told = [status for _, status in box.cloud.statuses]
    assert told[told.index("RUNNING") :] == [
        "RUNNING",
        *["STARTING", "RUNNING"] * (RESTARTS_BEFORE_ERROR - 1),
        "LAUNCH_ERROR",
    ]
    assert box.noted("node.ended") == (
        [{"instance": "door", "code": 1, "reason": "exit code 1"}] * RESTARTS_BEFORE_ERROR
    )
    attempts = [values["attempt"] for values in box.noted("node.started")]
    assert attempts == list(range(1, RESTARTS_BEFORE_ERROR + 2))
    assert box.run(lambda: box.cloud.reported["door"]["status"] == "RUNNING")


def test_restarts_wait_longer_up_to_the_bound() -> None:
    box = online_box()
    box.crashes["door"] = 12
    box.cloud.deploy("door", ASSETS)
    starts: list[float] = []
    while len(starts) < 13:
        count = len(box.noted("node.started"))
        assert box.run(lambda: len(box.noted("node.started")) > count)  # noqa: B023
        starts.append(box.now_s)
    gaps = [later - earlier - 1.0 for earlier, later in pairwise(starts)]
    for number, gap_s in enumerate(gaps):
        ceiling_s = min(BACKOFF_MAX_S, 2.0**number)
        assert ceiling_s / 2 <= gap_s < ceiling_s + 1e-6


def test_one_application_crashing_leaves_the_others_alone() -> None:
    box = online_box("hall")
    box.crashes["door"] = 5
    box.cloud.deploy("door", ASSETS)
    box.run(for_s=600.0)
    assert {values["instance"] for values in box.noted("node.ended")} == {"door"}
    assert _runs(box, "door", "hall")


def test_what_cannot_be_started_is_reported_and_tried_again() -> None:
    box = online_box()
    box.unstartable.add("door")
    box.cloud.deploy("door", ASSETS)
    assert box.run(lambda: box.cloud.reported.get("door", {}).get("status") == "LAUNCH_ERROR")
    assert "cannot be executed" in box.cloud.reported["door"]["reason"]
    box.unstartable.clear()
    assert box.run(lambda: _runs(box, "door"), for_s=2 * BACKOFF_MAX_S)
    assert box.cloud.reported["door"]["status"] == "RUNNING"


def test_everything_installed_starts_again_after_a_boot_without_the_cloud() -> None:
    box = provisioned_box("door", "hall")
    box.uplink = "broken"
    box.power_up()
    assert box.run(lambda: _runs(box, "door", "hall"))
    assert box.fetches == []
    box.mend_link()
    assert box.run(lambda: box.online and box.idle)
    assert {told["status"] for told in box.cloud.reported.values()} == {"RUNNING"}


def test_a_crash_while_offline_is_told_after_the_reconnect() -> None:
    box = online_box("door")
    box.unstartable.add("door")
    box.break_link()
    box.crash("door", code=7)
    box.run(for_s=600.0)
    assert box.cloud.reported["door"]["status"] == "RUNNING"
    box.mend_link()
    assert box.run(lambda: box.cloud.reported["door"]["status"] == "LAUNCH_ERROR")


# --- remove ---------------------------------------------------------------------------------------


def _nodes(box: Box, instance: str = "door") -> dict[str, str]:
    return dict(box.cloud.reported.get(instance, {}).get("nodes", {}))


def test_cameras_are_paused_and_resumed_and_that_is_told() -> None:
    box = online_box("door", version="5.0.7")
    assert _nodes(box) == {}
    box.cloud.pause("door", "yard", "front")
    assert box.run(lambda: _nodes(box) == {"front": "PAUSED", "yard": "PAUSED"})
    assert set(box.paused["door"]) == {"front", "yard"}
    box.cloud.pause("door", "front")
    assert box.run(lambda: _nodes(box) == {"front": "PAUSED", "yard": "RUNNING"})
    assert list(box.paused["door"]) == ["front"]
    signalled = [values["paused"] for values in box.noted("node.signalled")]
    assert signalled == [["front", "yard"], ["front"]]
    assert box.cloud.reported["door"]["status"] == "RUNNING"


def test_the_same_signal_again_is_no_news() -> None:
    box = online_box("door")
    box.cloud.pause("door", "front")
    assert box.run(lambda: _nodes(box) != {})
    told = len(box.cloud.statuses)
    box.cloud.pause("door", "front")
    box.run(for_s=60.0)
    assert len(box.noted("node.signalled")) == 1
    assert len(box.cloud.statuses) == told


def test_paused_cameras_stay_paused_over_a_power_cut_and_a_crash() -> None:
    box = online_box("door")
    box.cloud.pause("door", "front")
    assert box.run(lambda: _nodes(box) != {})
    box.cut_power()
    box.paused.clear()
    box.cloud.reported.clear()
    box.power_up()
    assert box.run(lambda: _nodes(box) == {"front": "PAUSED"})
    assert list(box.paused["door"]) == ["front"]
    box.paused.clear()
    box.crash("door")
    assert box.run(lambda: _runs(box, "door"))
    assert list(box.paused["door"]) == ["front"]


def test_a_signal_that_came_while_it_was_off_counts_at_the_next_connection() -> None:
    box = online_box("door")
    box.break_link()
    box.cloud.pause("door", "front")
    box.run(for_s=30.0)
    assert list(box.paused["door"]) == []
    box.mend_link()
    assert box.run(lambda: list(box.paused["door"]) == ["front"])


def test_an_application_may_be_deployed_with_a_paused_camera() -> None:
    box = online_box()
    box.uplink = "up"
    box.cloud.deploy("door", ASSETS)
    box.cloud.pause("door", "front")
    assert box.run(lambda: _runs(box, "door") and _nodes(box) == {"front": "PAUSED"})
    assert list(box.paused["door"]) == ["front"]


def test_a_release_without_signals_leaves_cameras_alone() -> None:
    """Pausing came with 5.0.7; what was asked for counts once such a release runs."""
    box = online_box("door", version="4.3.93")
    box.cloud.pause("door", "front")
    assert box.run(lambda: _nodes(box) == {"front": "RUNNING"})
    assert list(box.paused["door"]) == []
    box.cloud.order({**box.cloud.offer("6.2.1"), "allowMajorVersionUpdate": True})
    assert box.run(lambda: _nodes(box) == {"front": "PAUSED"})
    assert list(box.paused["door"]) == ["front"]


def test_the_sweep_sees_a_camera_that_is_not_as_it_was_asked_for() -> None:
    box = provisioned_box("door")
    device = settings(box)["device"]
    box.cloud.pause("door", "front")
    settle(box)
    assert list(violations(box, device)) == []
    box.paused["door"] = ()
    box.cloud.reported["door"] = {**box.cloud.reported["door"], "nodes": {}}
    assert [line.partition(" ")[0] for line in violations(box, device)] == ["cameras:"] * 2


def test_cameras_of_a_removed_application_are_forgotten() -> None:
    box = online_box("door", "hall")
    box.cloud.pause("door", "front")
    assert box.run(lambda: _nodes(box) != {})
    box.cloud.remove("door")
    assert box.run(lambda: _runs(box, "hall"))
    document = box.cloud.deploy("door", ASSETS)
    assert document
    assert box.run(lambda: _runs(box, "door", "hall"))
    assert list(box.paused["door"]) == []


def test_removal_stops_it_forgets_it_and_frees_its_place() -> None:
    box = online_box("door", "hall")
    shared = sha256(b"weights")
    box.cloud.remove("door")
    assert box.run(lambda: box.cloud.statuses[-1:] == [("door", "GONE")] and box.idle)
    assert [status for _, status in box.cloud.statuses] == ["REMOVAL_IN_PROGRESS", "GONE"]
    assert box.noted("app.removed") == [{"instance": "door"}]
    kept = settings(box)
    assert set(kept["applications"]) == {"hall"}
    assert set(kept["assets"]) == set(kept["applications"]["hall"]["uses"])
    assert shared in kept["assets"], "still used by the other application"
    assert box.noted("node.ended") == [], "what was asked for is no error"
    box.cut_power()
    box.power_up()
    assert box.run(lambda: _runs(box, "hall") and box.online)


def test_a_removal_asked_for_again_is_answered_again() -> None:
    box = online_box("door")
    box.cloud.remove("door")
    assert box.run(lambda: "door" not in box.cloud.reported)
    box.cloud.reported["door"] = {"status": "REMOVAL_IN_PROGRESS"}
    box.cloud.remove("door")
    assert box.run(lambda: "door" not in box.cloud.reported)
    assert len(box.noted("app.removed")) == 1


def test_removal_between_a_crash_and_its_restart_is_final() -> None:
    box = online_box()
    box.crashes["door"] = 100
    box.cloud.deploy("door", ASSETS)
    assert box.run(lambda: len(box.noted("node.ended")) == 6)
    box.cloud.remove("door")
    assert box.run(lambda: bool(box.noted("app.removed")))
    started = len(box.noted("node.started"))
    box.run(for_s=600.0)
    assert len(box.noted("node.started")) == started
    assert box.nodes == {}


def test_deployed_again_after_removal_between_crash_and_restart_it_runs_once() -> None:
    box = online_box()
    box.crashes["door"] = 5
    box.cloud.deploy("door", ASSETS)
    assert box.run(lambda: len(box.noted("node.ended")) == 5)
    box.cloud.remove("door")
    assert box.run(lambda: bool(box.noted("app.removed")))
    starts = _count_starts(box)
    box.cloud.deploy("door", ASSETS)
    assert box.run(lambda: "door" in box.nodes)
    box.run(for_s=600.0)
    assert starts() == 1, "the restart that was due belongs to the life before"


def _count_starts(box: Box) -> Callable[[], int]:
    before = len(box.noted("node.started"))
    return lambda: len(box.noted("node.started")) - before


# --- power, and places ----------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [False, True], ids=["all-lost", "all-kept"])
@pytest.mark.parametrize("act", ["deploy", "remove"])
def test_a_cut_at_any_moment_leaves_applications_as_before_or_as_after(
    act: str, kept: bool
) -> None:
    device = settings(provisioned_box("door"))["device"]
    seen, moment = set(), 0
    while True:
        box = online_box("door")
        box.keeps, box.cut_at = lambda _partition, _index: kept, box.moments + moment
        if act == "deploy":
            box.cloud.deploy("hall", ASSETS)
        else:
            box.cloud.remove("door")
        box.run(lambda: box.idle)  # noqa: B023
        if box.powered:
            break
        found = tuple(sorted(settings(box).get("applications", {})))
        seen.add(found)
        settle(box)
        assert list(violations(box, device)) == []
        moment += 1
    assert seen == ({("door",), ("door", "hall")} if act == "deploy" else {("door",), ()})


PLACES = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 20_000), st.booleans()), max_size=40)


@limits(deadline=None)
@given(PLACES)
def test_places_never_overlap_nor_touch_the_journal(steps: list[tuple[int, int, bool]]) -> None:
    data_bytes = ASSETS_AT + 100_000
    places: dict[str, list[int]] = {}
    for number, size, keep in steps:
        name = str(number)
        if not keep:
            places.pop(name, None)
            continue
        known = places.get(name)
        try:
            offset = _allocate(places, name, size, data_bytes)
        except StorageFull:
            assert name not in places
            continue
        assert known is None or known[0] == offset
    for (start, size), (following, _) in pairwise([*sorted(places.values()), [data_bytes, 0]]):
        assert start >= ASSETS_AT
        assert start + size <= following
