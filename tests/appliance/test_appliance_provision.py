"""Provisioning from the USB stick: once, by a claim, kept in one atomic step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.appliance import topic
from harness.appliance.effect import LinkLost, StickPlugged
from harness.appliance.provision import ANSWER_TIMEOUT_S, RETRY_S
from harness.appliance.stick import ARCHIVE_FILES
from harness.engine.stick import Stick
from harness.engine.sweep.cloud import ARCHIVE, STICK, THING, packed
from harness.engine.sweep.stand import factory_box
from harness.engine.sweep.truth import settings

if TYPE_CHECKING:
    from harness.engine.sweep.box import Box

LOG = "panorama/occ.log"
DEVICE = {
    "thing": THING,
    "endpoint": "mqtt.test:8883",
    "certificate": "certificate",
    "key": f"key of {THING}",
    "authority": "authority",
    "configuration": {"ntp": ["ntp.test"]},
}


def _waiting_box() -> Box:
    """Booted and looking for a stick."""
    box = factory_box()
    box.power_up()
    box.run(for_s=100.0)
    return box


def _status(box: Box) -> list[tuple[str, str]]:
    return [(colour, pattern) for led, colour, pattern in box.leds if led == "status"]


def test_a_good_stick_makes_a_device() -> None:
    box = _waiting_box()
    box.plug(STICK)
    assert box.run(lambda: box.online and box.idle)
    assert settings(box) == {"device": DEVICE}
    (ended,) = box.noted("provision.ended")
    assert ended["device"] == THING
    assert box.stick is not None
    assert b"registered" in box.stick.files[LOG]
    assert _status(box) == [
        ("green", "fast"),
        ("blue", "slow"),
        ("green", "steady"),
    ]


def test_the_claims_connection_is_closed_before_the_device_connects() -> None:
    box = _waiting_box()
    box.plug(STICK)
    assert box.run(lambda: box.connected)
    assert box.run(lambda: bool(box.noted("provision.ended")))
    assert not box.connected


def test_a_stick_that_is_in_at_power_on_is_used() -> None:
    box = factory_box()
    box.stick = STICK.copy()
    box.power_up()
    assert box.run(lambda: bool(box.noted("provision.ended")))


def test_a_stick_without_an_archive_is_passed_over() -> None:
    box = _waiting_box()
    box.plug(Stick({"holiday.jpg": b"..."}))
    box.run(for_s=600.0)
    assert box.stick == Stick({"holiday.jpg": b"..."})
    box.plug(STICK)
    assert box.run(lambda: bool(box.noted("provision.ended")))


@pytest.mark.parametrize("missing", ARCHIVE_FILES)
def test_a_missing_file_is_named_on_the_stick_and_on_the_panel(missing: str) -> None:
    box = _waiting_box()
    box.plug(packed({name: data for name, data in ARCHIVE.items() if name != missing}))
    box.run(for_s=600.0)
    assert box.stick is not None
    assert f"{missing} missing" in box.stick.files[LOG].decode()
    assert _status(box)[-1] == ("red", "fast")
    assert settings(box) == {}
    box.plug(STICK)
    assert box.run(lambda: bool(box.noted("provision.ended")))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("config.json", b"{"),
        ("config.json", b"[]"),
        ("config.json", b"\xff\xfe"),
        ("config.json", b'{"Endpoint": "mqtt.test:8883"}'),
        ("ca.pem", b"\xff\xfe"),
        ("claim.cert.pem", b"\xff"),
        ("claim.key.pem", b"\xff"),
    ],
)
def test_a_damaged_file_is_reported_and_another_stick_helps(name: str, data: bytes) -> None:
    box = _waiting_box()
    box.plug(packed({**ARCHIVE, name: data}))
    box.run(for_s=600.0)
    assert box.stick is not None
    assert box.stick.files[LOG].startswith(b"ERROR provisioning: provisioning archive: ")
    assert name.encode() in box.stick.files[LOG]
    box.plug(STICK)
    assert box.run(lambda: bool(box.noted("provision.ended")))


def test_a_spent_claim_is_not_tried_again_and_again() -> None:
    box = _waiting_box()
    box.cloud.claims_spent.add(f"claim-{THING}")
    box.plug(STICK)
    box.run(for_s=3600.0)
    assert box.stick is not None
    assert b"claim is spent" in box.stick.files[LOG]
    assert _status(box).count(("blue", "slow")) == 1
    box.cloud.claims_spent.clear()
    box.deliver("main", LinkLost("the claim's connection, closed late"))
    box.run(for_s=600.0)
    assert _status(box).count(("blue", "slow")) == 1, "only another stick is a reason to try again"
    box.deliver("main", StickPlugged())
    assert box.run(lambda: bool(box.noted("provision.ended")))


@pytest.mark.parametrize("step", [topic.CREATE_CERTIFICATE, topic.REGISTER_THING])
def test_a_rejected_request_is_the_end_of_this_archive(step: str) -> None:
    box = _waiting_box()
    box.cloud.reject[step] = "claim has expired"
    box.plug(STICK)
    box.run(for_s=600.0)
    assert box.stick is not None
    assert b"claim has expired" in box.stick.files[LOG]
    assert settings(box) == {}


def test_no_uplink_is_tried_again_until_there_is_one() -> None:
    box = _waiting_box()
    box.break_link()
    box.plug(STICK)
    box.run(for_s=10 * RETRY_S)
    assert _status(box).count(("blue", "slow")) >= 10
    box.mend_link()
    assert box.run(lambda: bool(box.noted("provision.ended")), for_s=2 * RETRY_S)


@pytest.mark.parametrize("silent", [topic.CREATE_CERTIFICATE, topic.REGISTER_THING])
def test_no_answer_is_a_time_out_and_tried_again(silent: str) -> None:
    box = _waiting_box()
    box.cloud.mute.add(silent)
    box.plug(STICK)
    box.run(for_s=ANSWER_TIMEOUT_S + RETRY_S / 2)
    assert box.stick is not None
    assert b"no answer" in box.stick.files[LOG]
    box.cloud.mute.clear()
    assert box.run(lambda: bool(box.noted("provision.ended")))


def test_a_connection_lost_while_waiting_is_tried_again() -> None:
    box = _waiting_box()
    box.cloud.mute.add(topic.REGISTER_THING)
    box.plug(STICK)
    box.run(for_s=1.0)
    box.break_link("broker restarts")
    box.run(for_s=1.0)
    assert box.stick is not None
    assert b"broker restarts" in box.stick.files[LOG]
    box.mend_link()
    box.cloud.mute.clear()
    assert box.run(lambda: bool(box.noted("provision.ended")))


def test_a_pulled_stick_changes_nothing_once_it_was_read() -> None:
    box = _waiting_box()
    box.plug(STICK)
    box.run(lambda: ("status", "blue", "slow") in box.leds)
    box.stick = None
    assert box.run(lambda: bool(box.noted("provision.ended")))
    assert settings(box) == {"device": DEVICE}


@pytest.mark.parametrize("kept", [False, True], ids=["all-lost", "all-kept"])
def test_a_cut_at_any_moment_leaves_a_whole_identity_or_none(kept: bool) -> None:
    seen, moment = set(), 0
    while True:
        box = factory_box()
        box.stick = STICK.copy()
        box.keeps, box.cut_at = lambda _partition, _index: kept, moment
        box.power_up()
        box.run(lambda: box.online and box.idle)  # noqa: B023
        if box.powered:
            break
        found = settings(box)
        assert found in ({}, {"device": DEVICE}), f"after a cut before moment {moment}"
        seen.add(bool(found))
        moment += 1
    assert seen == {False, True}
