"""Every checker: what it passes, what it fails, and when it does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness.judge import CHECKERS, Checker, Finding, Verdict
from harness.judge.checker import EVIDENCE_MAX, Case, overall
from harness.record import kind
from harness.record.event import Event

if TYPE_CHECKING:
    from harness.record.history import History

PASS, FAIL, UNKNOWN = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN
PARAMETERS: dict[str, dict[str, Any]] = {
    "detections": {"precision_min": 0.9, "recall_min": 0.9},
    "reached": {"kinds": [kind.OTA_ENDED]},
    "applications-return": {"within_s": 3.0},
}


APART = (
    "reconnects-spread",
    "removal-clean",
    "ports-open",
)  # need a story of their own, see test_judge_health


def check(name: str, history: History, **parameters: Any) -> Finding:
    return CHECKERS[name].run(history, parameters or PARAMETERS.get(name, {}))


def kinds_of(history: History, finding: Finding) -> set[str]:
    return {history.events[number - 1].kind for number in finding.evidence}


@pytest.mark.parametrize("name", [name for name in CHECKERS if name not in APART])
def test_the_whole_story_passes(site: Any, name: str) -> None:
    finding = check(name, site.history())
    assert (finding.verdict, finding.checker) == (PASS, name), finding.message
    assert finding.demand


@pytest.mark.parametrize("name", CHECKERS)
def test_an_empty_history_is_unknown(site: Any, name: str) -> None:
    finding = check(name, site.only(), **PARAMETERS.get(name, {}))
    expected = FAIL if name == "reached" else UNKNOWN
    assert finding.verdict is expected
    assert finding.message


@pytest.mark.parametrize("name", CHECKERS)
def test_unknown_parameters_are_unknown_not_ignored(site: Any, name: str) -> None:
    finding = CHECKERS[name].run(site.history(), {"precision": 0.9})
    assert finding.verdict is UNKNOWN
    assert "unknown parameters precision" in finding.message


def test_a_checker_that_crashes_is_unknown(site: Any) -> None:
    def crash(history: History, parameters: Any) -> Finding:
        raise ZeroDivisionError("oh")

    finding = Checker("crash", "", crash).run(site.history(), {})
    assert finding.verdict is UNKNOWN
    assert finding.message == "the checker crashed: ZeroDivisionError: oh"


def test_a_checker_survives_an_event_without_its_values(site: Any) -> None:
    history = site.only((1.0, "appliance/north", kind.SLOTS, {}))
    assert "crashed: KeyError" in check("slots-safe", history).message


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([PASS, PASS], PASS),
        ([PASS, UNKNOWN], UNKNOWN),
        ([UNKNOWN, FAIL, PASS], FAIL),
        ([], UNKNOWN),
    ],
)
def test_overall(verdicts: list[Verdict], expected: Verdict) -> None:
    assert overall(Finding("x", verdict, "") for verdict in verdicts) is expected


def test_evidence_and_messages_are_bounded() -> None:
    case = Case()
    for number in range(1, 1000):
        case.fail(f"problem {number}", number)
    finding = case.finding("", empty="")
    assert len(finding.evidence) == EVIDENCE_MAX
    assert finding.message.endswith("problem 5; and 994 more")


# --- the run ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [("completed", PASS), ("failed", FAIL), ("interrupted", UNKNOWN), ("dreamt", UNKNOWN)],
)
def test_run_outcomes(site: Any, outcome: str, expected: Verdict) -> None:
    finding = check("run", site.bent(kind.RUN_ENDED, {}, outcome=outcome))
    assert finding.verdict is expected


def test_a_run_that_never_ended_is_unknown(site: Any) -> None:
    assert check("run", site.without(kind.RUN_ENDED)).verdict is UNKNOWN


def test_a_failed_step_names_its_reason(site: Any) -> None:
    history = site.bent(kind.STEP_ENDED, {"index": "5"}, ok=False, error="no rollback in 60 s")
    finding = check("steps", history)
    assert finding.verdict is FAIL
    assert finding.message == "step 5 (update south): no rollback in 60 s"
    assert kinds_of(history, finding) == {kind.STEP_STARTED, kind.STEP_ENDED}


def test_a_step_without_end_fails_unless_the_run_was_cut_off(site: Any) -> None:
    open_step = [
        e for e in site.events() if not (e.kind == kind.STEP_ENDED and "4" in e.values["index"])
    ]
    assert check("steps", site.history(open_step)).verdict is FAIL
    cut_off = [event for event in open_step if event.kind != kind.RUN_ENDED]
    assert check("steps", site.history(cut_off)).verdict is UNKNOWN


def test_steps_with_the_same_index_in_two_phases_are_two_steps(site: Any) -> None:
    step = {"index": "1", "step": "observe"}
    twice = [
        (float(t), "scenario", what, {**step, "ok": True})
        for t, what in enumerate([kind.STEP_STARTED, kind.STEP_ENDED] * 2)
    ]
    assert check("steps", site.only(*twice)).message == "2 steps ended well"
    assert check("steps", site.only(*twice[:3])).verdict is UNKNOWN


def test_reached_names_what_never_happened(site: Any) -> None:
    finding = check("reached", site.history(), kinds=[kind.CAMERA_LOST, kind.BOOT_REFUSED])
    assert (finding.verdict, finding.message) == (FAIL, "boot.refused never happened")


# --- faults ----------------------------------------------------------------------------------


def test_an_inert_fault_is_unknown(site: Any) -> None:
    finding = check("faults-bite", site.without(kind.FAULT_OBSERVED, fault="camera-1"))
    assert finding.verdict is UNKNOWN
    assert "camera-1 (camera.offline on yard) is an inert fault" in finding.message


def test_a_fault_that_was_never_healed_fails(site: Any) -> None:
    finding = check("faults-bite", site.without(kind.FAULT_HEALED, fault="camera-1"))
    assert (finding.verdict, "never healed" in finding.message) == (FAIL, True)


def test_a_planned_fault_that_never_came_is_unknown(site: Any) -> None:
    finding = check("faults-bite", site.history(), planned=["uplink-1", "power-1"])
    assert finding.verdict is UNKNOWN
    assert finding.message == "the planned fault power-1 was never injected"


def test_a_fault_without_recovery_fails(site: Any) -> None:
    finding = check("recovers", site.without(kind.FAULT_RECOVERED, fault="uplink-1"))
    assert finding.verdict is FAIL
    assert "no recovery from uplink-1" in finding.message


# --- convergence -----------------------------------------------------------------------------


def test_an_appliance_that_ends_offline_has_not_converged(site: Any) -> None:
    offline = Event(58.0, "appliance/north", kind.STATE, {"state": "offline"})
    finding = check("converges", site.history([*site.events(), offline]))
    assert (finding.verdict, finding.message) == (FAIL, "north ended offline")


def test_an_appliance_that_was_cut_off_is_off_whatever_it_said_last(site: Any) -> None:
    cut = Event(58.0, "appliance/north", kind.STOPPED, {"reason": "power-cut"})
    assert check("converges", site.history([*site.events(), cut])).message == "north ended off"


def test_the_cloud_must_see_every_device_online(site: Any) -> None:
    lost = Event(58.0, "cloud", kind.CLOUD_DEVICE, {"device": "south", "status": "OFFLINE"})
    finding = check("converges", site.history([*site.events(), lost]))
    assert finding.message == "the cloud sees south as OFFLINE"


def silent_after(site: Any, t_s: float, **stream: str) -> list[Event]:
    return [
        e
        for e in site.events()
        if not (
            e.kind == kind.FRAMES
            and e.t_s > t_s
            and all(e.values[key] == value for key, value in stream.items())
        )
    ]


def test_one_silent_camera_has_not_converged(site: Any) -> None:
    finding = check("converges", site.history(silent_after(site, 45, camera="yard")))
    assert finding.message == "counter-south gets no frames of yard any more"


def test_a_removed_application_need_not_deliver(site: Any) -> None:
    removed = Event(49.0, "appliance/south", kind.REMOVED, {"instance": "counter-south"})
    events = silent_after(site, 48, instance="counter-south")
    position = next(i for i, event in enumerate(events) if event.t_s > 49)
    events.insert(position, removed)
    assert check("converges", site.history(events)).verdict is PASS


def test_an_application_that_never_got_a_frame_has_not_converged(site: Any) -> None:
    finding = check("converges", site.history(silent_after(site, 0, instance="counter-north")))
    assert finding.message == "counter-north is installed and never got a frame"


# --- slots and fuses -------------------------------------------------------------------------


def slots(active: Any, fuses: int = 3, bootable: str = "ab") -> dict[str, Any]:
    states = {s: {"bootable": s in bootable, "successful": True, "tries": 0} for s in "ab"}
    return {"active": active, "slots": states, "fuse_level": fuses}


def booted(slot: str, fuses: int = 3) -> dict[str, Any]:
    return {"slot": slot, "version": "6.2.1", "fuse_level": fuses}


@pytest.mark.parametrize(
    ("events", "expected", "says"),
    [
        ([("C", slots("a")), ("B", booted("a"))], PASS, "1 appliances"),
        ([("B", booted("a")), ("C", slots("a"))], PASS, "1 appliances"),
        ([("C", slots("a")), ("C", slots("b")), ("B", booted("b"))], PASS, "1 appliances"),
        ([("C", slots("a")), ("B", booted("b"))], FAIL, "booted slot b while a is active"),
        ([("B", booted("b")), ("C", slots("a"))], FAIL, "booted slot b while a is active"),
        ([("C", slots("a", bootable="b"))], FAIL, "the active slot a is not bootable"),
        ([("C", slots(["a", "b"]))], FAIL, "no single active slot: ['a', 'b']"),
        ([("C", slots(None))], FAIL, "no single active slot"),
        ([("C", slots("a", 4)), ("C", slots("a", 3))], FAIL, "went back from 4 to 3"),
        ([("C", slots("a", 4)), ("B", booted("a", 3))], FAIL, "below its 4 blown fuses"),
        ([("C", slots("a", 3)), ("B", booted("a", 4))], PASS, "1 appliances"),
        ([("B", booted("a"))], UNKNOWN, "boot control was never seen"),
    ],
)
def test_slots(site: Any, events: list[Any], expected: Verdict, says: str) -> None:
    made = [
        (float(t), "appliance/north", kind.SLOTS if what == "C" else kind.BOOTED, values)
        for t, (what, values) in enumerate(events)
    ]
    finding = check("slots-safe", site.only(*made))
    assert finding.verdict is expected
    assert says in finding.message


def test_the_fuses_of_one_appliance_say_nothing_about_another(site: Any) -> None:
    history = site.only(
        (0.0, "appliance/north", kind.SLOTS, slots("a", 4)),
        (1.0, "appliance/south", kind.SLOTS, slots("a", 3)),
    )
    assert check("slots-safe", history).verdict is PASS


# --- updates ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bend", "says"),
    [
        (
            (kind.CLOUD_JOB, {"job": "job-2", "status": "FAILED"}, {"status": "COMPLETED"}),
            "job job-2 ended rolled-back, the cloud says COMPLETED, not FAILED",
        ),
        (
            (kind.CLOUD_JOB, {"job": "job-1", "status": "COMPLETED"}, {"status": "FAILED"}),
            "job job-1 ended committed, the cloud says FAILED, not COMPLETED",
        ),
        (
            (kind.BOOTED, {"version": "7.0.13"}, {"version": "6.2.1"}),
            "north: update committed, should run 7.0.13, runs 6.2.1",
        ),
        (
            (kind.OTA_ENDED, {"job": "job-2"}, {"outcome": "failed", "version_from": "5.1.7"}),
            "south: update failed, should run 5.1.7, runs 6.2.1",
        ),
    ],
)
def test_lies_about_updates(site: Any, bend: tuple[Any, Any, Any], says: str) -> None:
    history = site.bent(bend[0], bend[1], **bend[2])
    finding = check("ota-truthful", history)
    assert (finding.verdict, finding.message) == (FAIL, says)
    assert finding.evidence


def test_an_update_that_never_ended_fails(site: Any) -> None:
    finding = check("ota-truthful", site.without(kind.OTA_ENDED, job="job-1"))
    assert finding.verdict is FAIL
    assert "update job-1 began and never ended" in finding.message
    assert "job job-1 is COMPLETED, but nothing was committed" in finding.message


def test_an_update_that_the_cloud_never_heard_of_is_unknown(site: Any) -> None:
    finding = check("ota-truthful", site.without(kind.CLOUD_JOB, job="job-1"))
    assert (finding.verdict, finding.message) == (UNKNOWN, "the cloud never heard of job job-1")


def reboot_job(device: str, reason: str = "reboot") -> list[Event]:
    return [
        Event(51.0, "cloud", kind.CLOUD_JOB, {"job": "r", "device": device, "status": "PENDING"}),
        Event(52.0, "appliance/north", kind.STOPPED, {"reason": reason}),
        Event(53.0, "cloud", kind.CLOUD_JOB, {"job": "r", "device": device, "status": "COMPLETED"}),
    ]


def test_a_reboot_job_is_completed_by_a_reboot(site: Any) -> None:
    story = [*site.events(), *reboot_job("north")]
    assert check("ota-truthful", site.history(story)).verdict is PASS
    story.pop(-2)
    assert check("ota-truthful", site.history(story)).verdict is FAIL


def test_a_power_cut_on_the_way_down_is_a_reboot_too(site: Any) -> None:
    story = [*site.events(), *reboot_job("north", "power-cut")]
    assert check("ota-truthful", site.history(story)).verdict is PASS


def test_a_reboot_of_another_appliance_does_not_count(site: Any) -> None:
    story = [*site.events(), *reboot_job("south")]
    assert check("ota-truthful", site.history(story)).verdict is FAIL


# --- applications ----------------------------------------------------------------------------


def test_an_application_that_does_not_start_after_a_boot_fails(site: Any) -> None:
    events = [e for e in site.events() if not (e.kind == kind.NODE_STARTED and e.t_s == 41.4)]
    finding = check("applications-return", site.history(events))
    assert finding.message == "counter-south did not start after south booted"


def test_an_application_without_frames_after_a_boot_fails(site: Any) -> None:
    events = silent_after(site, 30, instance="counter-north")
    finding = check("applications-return", site.history(events))
    assert finding.message == "counter-north started after north booted, but gets no frames"


def test_a_boot_that_was_cut_off_soon_proves_nothing(site: Any) -> None:
    """The release on trial is left after 1.3 s: forgiven below that, demanded above it."""
    assert check("applications-return", site.history(), within_s=2.0).verdict is PASS
    assert check("applications-return", site.history(), within_s=1.0).verdict is FAIL


# --- frames ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"in_flight": 3}, "yard to counter-south: 753 sent, but 754 accounted for"),
        ({"in_flight": -1, "dropped_decoder": 4}, "yard to counter-south: in_flight is negative"),
        ({"sent": -5}, "yard to counter-south: sent is negative"),
    ],
)
def test_accounts_that_do_not_agree(site: Any, changes: dict[str, int], says: str) -> None:
    finding = check("frames-account", site.bent(kind.FRAME_ACCOUNT, {"camera": "yard"}, **changes))
    assert (finding.verdict, finding.message) == (FAIL, says)


def test_a_stream_without_account_fails(site: Any) -> None:
    finding = check("frames-account", site.without(kind.FRAME_ACCOUNT, camera="yard"))
    assert finding.message == "yard to counter-south was read and never accounted for"


def test_more_frames_handed_over_than_accounted_for(site: Any) -> None:
    history = site.bent(kind.FRAMES, {"camera": "yard", "from_s": 20.0}, delivered=500)
    assert "frames handed over, the account has" in check("frames-account", history).message


def test_accounts_of_two_lives_of_a_node_add_up(site: Any) -> None:
    parts = {"lost_network": 0, "dropped_decoder": 0, "skipped_application": 0, "in_flight": 0}
    stream = {"camera": "door", "instance": "counter"}
    account = {**stream, **parts, "sent": 10, "delivered": 10}
    window = {**stream, "delivered": 20, "from_s": 0.0, "to_s": 1.0}
    events = [(1.0, "app/counter", kind.FRAME_ACCOUNT, account)] * 2
    history = site.only(*events, (2.0, "app/counter", kind.FRAMES, window))
    assert check("frames-account", history).message == (
        "all 20 frames of 1 streams are accounted for"
    )


def test_detections_are_micro_averaged_per_instance(site: Any) -> None:
    counts = [(90, 10, 0), (10, 0, 25)]
    windows = [
        (float(t), "app/a", kind.FRAMES, {
            "camera": f"c{t}", "instance": "a", "delivered": 1, "from_s": 0.0, "to_s": 1.0,
            "detected": hit, "missed": missed, "false": false,
        })
        for t, (hit, missed, false) in enumerate(counts)
    ]  # fmt: skip
    finding = check("detections", site.only(*windows), precision_min=0.8, recall_min=0.9)
    assert (finding.verdict, finding.message) == (PASS, "a precision 0.8000, a recall 0.9091")
    finding = check("detections", site.only(*windows), precision_min=0.81)
    assert (finding.verdict, finding.message) == (FAIL, "a: precision 0.8000 is below 0.81")


def test_nothing_to_detect_is_unknown(site: Any) -> None:
    values = {
        "camera": "c",
        "instance": "a",
        "delivered": 1,
        "detected": 0,
        "missed": 0,
        "false": 0,
    }
    finding = check("detections", site.only((1.0, "app/a", kind.FRAMES, values)), recall_min=0.5)
    assert finding.verdict is UNKNOWN
