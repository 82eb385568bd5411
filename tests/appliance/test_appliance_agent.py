"""The link: back-off, reconnect, and who gets which message."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from harness.appliance import effect as fx
from harness.appliance import topic
from harness.appliance.agent import BACKOFF_FIRST_S, BACKOFF_MAX_S, HEARTBEAT_S, backoff
from harness.appliance.release import SOUND
from harness.engine.sweep.cloud import THING
from harness.engine.sweep.stand import online_box, provisioned_box
from harness.errors import LinkDown

if TYPE_CHECKING:
    from harness.appliance.firmware import Firmware
    from harness.engine.sweep.box import Box


def _delay_s(attempt: int, chance: float) -> float:
    program = backoff(attempt)
    assert isinstance(next(program), fx.Draw)
    with pytest.raises(StopIteration) as stop:
        program.send(chance)
    return float(stop.value.value)


@pytest.mark.parametrize("attempt", [1, 2, 3, 6, 7, 12, 1000, 100_000])
def test_back_off_doubles_to_a_bound_with_jitter_over_its_upper_half(attempt: int) -> None:
    ceiling_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(attempt - 1, 99))
    assert _delay_s(attempt, 0.0) == ceiling_s / 2
    assert _delay_s(attempt, 0.999999) == pytest.approx(ceiling_s, rel=1e-5)
    assert _delay_s(attempt, 0.999999) < ceiling_s


def _refusals(box: Box) -> list[int]:
    return [values["attempt"] for values in box.noted("link.refused")]


def test_connecting_tells_what_runs_and_lights_the_network_led() -> None:
    box = provisioned_box()
    box.power_up()
    assert box.run(lambda: box.online and box.idle)
    box.run(for_s=2.0)  # until NTP has answered
    told = dict(box.cloud.device)
    assert told.pop("network")["NtpStatus"]["ConnectionStatus"] == "CONNECTED"
    assert told == {"software": "6.0.8", "slot": "a", "serial": "serial-1"}
    assert box.noted("link.connected") == [{"attempt": 1, "duration_s": 0.0}]
    assert box.noted("appliance.state")[-1] == {"state": "online"}
    assert [led for led in box.leds if led[0] == "network"] == [
        ("network", "green", "steady"),
        ("network", "green", "fast"),
    ]


def test_a_lost_link_is_noted_and_reconnected_within_the_back_off() -> None:
    box = online_box()
    box.break_link("cable pulled")
    box.run(for_s=300.0)
    attempts = _refusals(box)
    assert attempts == list(range(1, len(attempts) + 1))
    assert len(attempts) >= 6, "about 1, 2, 4, ... seconds apart, 60 at most"
    assert box.noted("link.lost") == [{"reason": "cable pulled"}]
    assert box.noted("appliance.state")[-1] == {"state": "offline"}
    assert box.leds[-1] == ("network", "green", "steady")
    box.mend_link()
    assert box.run(lambda: box.online and box.idle, for_s=BACKOFF_MAX_S)
    (connected,) = box.noted("link.connected")
    assert connected["attempt"] == len(attempts) + 1
    assert 300.0 < connected["duration_s"] <= 300.0 + BACKOFF_MAX_S


def test_attempts_count_from_one_again_after_a_connection() -> None:
    box = online_box()
    for _ in range(2):
        box.break_link()
        box.run(for_s=10.0)
        box.mend_link()
        assert box.run(lambda: box.online and box.idle)
    starts = [attempt for attempt in _refusals(box) if attempt == 1]
    assert len(starts) == 2


def test_a_link_that_breaks_while_connecting_is_not_taken_for_the_loss_of_the_next() -> None:
    """The broken connection has told of its end by mailbox as well as by an error."""
    box = provisioned_box()
    box.power_up()
    assert box.run(lambda: box.connected)
    box.break_link("broke before it was used")
    box.run(lambda: bool(_refusals(box)))
    box.mend_link()
    assert box.run(lambda: bool(box.noted("link.connected")))
    box.run(for_s=600.0)
    assert box.noted("link.lost") == []
    assert len(box.noted("link.connected")) == 1


def _posted(box: Box, sent: fx.MessageArrived) -> list[str]:
    """The mailboxes a message that came over the link is handed on to."""
    posts: list[str] = []
    deliver = box.deliver

    def watch(mailbox: str, message: object) -> None:
        if message is sent:
            posts.append(mailbox)
        deliver(mailbox, message)

    deliver("main", sent)
    box.deliver = watch  # type: ignore[method-assign]
    box.run(lambda: box.idle)
    return posts


@pytest.mark.parametrize(
    ("at", "mailbox"),
    [
        (topic.job_notify(THING), "updater"),
        (topic.job_next(THING) + topic.ACCEPTED, "updater"),
        (topic.shadow_delta(THING, "applications"), "applications"),
        (topic.shadow_get(THING, "applications") + topic.ACCEPTED, "applications"),
    ],
)
def test_every_message_goes_to_the_program_it_concerns(at: str, mailbox: str) -> None:
    assert _posted(online_box(), fx.MessageArrived(at, {})) == [mailbox]


def test_the_heartbeat_says_what_runs() -> None:
    box = provisioned_box()
    beats: list[fx.Effect] = []

    def listened(firmware: Firmware) -> fx.Program[None]:
        program, outcome = SOUND.agent(firmware), None
        while True:
            effect = program.send(outcome)
            if isinstance(effect, fx.Heartbeat):
                beats.append(effect)
            outcome = yield effect

    box.release = lambda _manifest: replace(SOUND, agent=listened)
    box.power_up()
    assert box.run(lambda: box.online and box.idle)
    told = {"state": {"reported": {"software": "6.0.8", "slot": "a"}}}
    assert beats == [fx.Heartbeat(topic.shadow_update(THING, "device"), told, HEARTBEAT_S)]


def test_the_private_key_stays_out_of_sight() -> None:
    assert "secret" not in repr(fx.UseIdentity("certificate", "secret", "authority"))


def test_link_down_in_the_middle_of_connecting_is_an_attempt() -> None:
    box = provisioned_box()
    failures = itertools.count()
    subscribe = box._need_link

    def twice() -> None:
        if next(failures) < 2:
            raise LinkDown("connection reset by peer")
        subscribe()

    box._need_link = twice  # type: ignore[method-assign]
    box.power_up()
    assert box.run(lambda: box.online and box.idle and bool(box.noted("link.connected")))
    assert _refusals(box) == [1, 2]
    assert box.noted("link.connected")[0]["attempt"] == 3
