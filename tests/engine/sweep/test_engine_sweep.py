"""Power is cut at every moment of a road, and of the recovery; what is left always comes back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from harness.appliance import journal, release
from harness.appliance.boot_control import BootControl
from harness.appliance.effect import Publish, Sync, Write
from harness.appliance.storage import Disk, Survival
from harness.engine.sweep.campaign import Order, sweep
from harness.engine.sweep.road import IMAGE_BYTES_MAX, ROADS, Load
from harness.engine.sweep.sweep import (
    FAILURES_MAX,
    Cut,
    Sweep,
    classes,
    parse_path,
    path_text,
    replay,
)
from harness.errors import HarnessError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.appliance.firmware import Firmware

SMALL = Load(image_bytes=3 << 20)
BAD = replace(SMALL, defects=("health-check-fails",))


@pytest.mark.parametrize("road", ROADS)
def test_after_any_cut_of_any_road_all_holds_that_must(road: str) -> None:
    findings = Sweep(road, SMALL).run()
    assert findings.complete
    assert [f for f in findings.failures if f.broken] == []
    assert findings.cuts >= findings.moments >= len(findings.outcomes) >= 1
    assert len(findings.states) >= (1 if road == "shutdown" else 3)


def test_an_update_that_power_interrupts_is_gone_on_with() -> None:
    assert set(Sweep("ota", SMALL).run().outcomes) == {"runs 6.2.1, OTA SUCCEEDED"}


def test_a_bad_image_never_stays() -> None:
    assert set(Sweep("ota", BAD).run().outcomes) == {"runs 6.0.8, OTA FAILED"}


@pytest.mark.parametrize("load", [SMALL, BAD], ids=["good", "bad"])
def test_a_second_cut_in_the_recovery_changes_nothing(load: Load) -> None:
    once, twice = Sweep("ota", load).run(), Sweep("ota", load, depth=2).run()
    assert twice.failures == []
    assert once.states < twice.states
    assert twice.cuts > 10 * once.cuts


def test_a_self_test_that_hangs_is_ended_by_the_watchdog_wherever_power_is_cut() -> None:
    findings = Sweep("ota", replace(SMALL, defects=("self-test-hangs",))).run()
    assert findings.failures == []
    assert set(findings.outcomes) == {"runs 6.0.8, OTA FAILED"}


def test_a_road_that_misses_its_goal_is_broken_without_a_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An update that leads nowhere is survived by every cut, and yet no good."""
    monkeypatch.setattr(BootControl, "armed", lambda self, _name: self)
    findings = Sweep("ota", SMALL).run()
    assert [(f.path, f.broken) for f in findings.failures] == [
        ((), ("reaches-goal: 6.0.8 runs, not 6.2.1",))
    ]


def test_shares_of_a_sweep_add_up_to_it() -> None:
    order = Order("ota", Load(image_bytes=80 << 20), depth=1)
    alone, together = sweep(order, workers=1), sweep(order, workers=2)
    assert len(together.findings.states) == len(alone.findings.states)
    assert together.findings.cuts == alone.findings.cuts
    assert together.findings.moments == alone.findings.moments
    assert set(together.findings.outcomes) == set(alone.findings.outcomes)


def test_a_sweep_that_is_bounded_says_that_it_is_not_complete() -> None:
    findings = Sweep("ota", SMALL, states_max=5).run()
    assert len(findings.states) == 5
    assert not findings.complete


# --- it notices what is broken -------------------------------------------------------------------


def _early_success(update: Callable[[Firmware], Any]) -> Callable[[Firmware], Any]:
    """An updater that reports success before the reboot: the job is over, the image unproven."""

    def program(firmware: Firmware) -> Any:
        inner, value, error = update(firmware), None, None
        while True:
            request = inner.send(value) if error is None else inner.throw(error)
            if isinstance(request, Publish) and "statusDetails" in request.payload:
                details = request.payload["statusDetails"]
                if details["progress"] == "REBOOTING":
                    details = {**details, "progress": "COMPLETED"}
                    told = {"status": "SUCCEEDED", "statusDetails": details}
                    request = Publish(request.topic, told)
            value = error = None
            try:
                value = yield request
            except HarnessError as problem:
                error = problem

    return program


@pytest.fixture
def early_success(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    broken = replace(release.SOUND, update=_early_success(release.SOUND.update))
    monkeypatch.setattr(release, "SOUND", broken)
    release.release.cache_clear()
    yield
    release.release.cache_clear()


@pytest.mark.usefixtures("early_success")
def test_success_that_is_told_before_the_reboot_is_found_and_can_be_replayed() -> None:
    findings = Sweep("ota", BAD, depth=2).run()
    assert 1 <= len(findings.failures) <= FAILURES_MAX
    failure = findings.failures[-1]
    assert any("job-truthful" in text for text in failure.broken)
    again = replay("ota", BAD, failure.path)
    assert again.broken == failure.broken
    assert len(again.cuts) == len(failure.path)
    assert again.notes


def test_a_journal_without_checksums_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def put(self: journal.Journal, changes: Any) -> Any:
        """In place and in one piece, as a program does that trusts its disk."""
        values = {**self.values, **changes}
        record = self._encode({k: v for k, v in values.items() if v is not None}, 0)
        self.values = values
        self._sequence += 1
        yield Write("data", 0, record)
        yield Sync("data")

    monkeypatch.setattr(journal.Journal, "put", put)
    failures = Sweep("deploy", SMALL).run().failures
    assert any("settings-whole" in text for failure in failures for text in failure.broken)


# --- what survives -------------------------------------------------------------------------------


def test_classes_of_few_writes_are_all_there_are() -> None:
    disk = Disk({"p": 1 << 16, "q": 1 << 16})
    assert list(classes(disk)) == [{}]
    disk["p"].write(0, b"x")
    disk["q"].write(0, bytes(2048))
    found = [(c["p"][0], c["q"][0]) for c in classes(disk)]
    assert len(found) == len(set(found)) == 2 * 4
    assert (Survival.WHOLE, Survival.TAIL) in found


def test_classes_of_many_writes_are_each_alone_among_none_and_all() -> None:
    disk = Disk({"p": 1 << 20})
    for number in range(10):
        disk["p"].write(number * 512, b"x")
    found = [tuple(c["p"]) for c in classes(disk)]
    lost, whole = (Survival.LOST,) * 10, (Survival.WHOLE,) * 10
    assert found[0] == lost
    assert whole in found
    assert len(found) == len(set(found)) == 2 * (1 + 10)


# --- words ---------------------------------------------------------------------------------------


def test_a_replay_id_is_read_as_it_is_written() -> None:
    path = (Cut(132, 1), Cut(57, 0))
    assert path_text(path) == "132.1-57.0"
    assert parse_path("132.1-57.0") == path


@pytest.mark.parametrize("text", ["", "132", "132.1-", "a.b", "1.2.3"])
def test_what_is_no_replay_id_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="no replay id"):
        parse_path(text)


def test_a_replay_of_what_is_not_there_says_so() -> None:
    with pytest.raises(InputError, match=r"nothing can be cut at 5000\.0"):
        replay("ota", SMALL, (Cut(5000, 0),))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Sweep("otb", SMALL), "unknown road 'otb'"),
        (lambda: Sweep("ota", SMALL, depth=9), "depth 9"),
        (lambda: Load(image_bytes=1), "1 bytes"),
        (lambda: Load(image_bytes=IMAGE_BYTES_MAX + 1), "does not fit"),
        (lambda: Load(defects=("no-such",)), "unknown defect 'no-such'"),
        (lambda: sweep(Order("ota", SMALL), workers=0), "0 workers"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(make: Callable[[], object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()
