"""Frame accounts: arithmetic over telemetry and what cameras say they sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from harness.camera.picture.scene import Box
from harness.camera.serve.outbox import SessionAccount
from harness.engine.process.tally import LATENCY_MAX_S, Tally
from harness.record.histogram import Histogram
from harness.runtime import telemetry

if TYPE_CHECKING:
    from collections.abc import Mapping

PEER = ("127.0.0.1", 40_001)
STRANGER = ("127.0.0.1", 50_001)
PARTS = ("delivered", "lost_network", "dropped_decoder", "skipped_application", "in_flight")
TRUTH = Box("person", 0.1, 0.1, 0.3, 0.4)


@dataclass
class FakeCamera:
    """What a tally asks of a camera: its sessions, its clock and its ground truth."""

    sessions: list[SessionAccount] = field(default_factory=list)
    epoch_s: float = 1000.0
    clip: Any = field(
        default_factory=lambda: SimpleNamespace(duration_s=8.0, truth=lambda _index: [TRUTH])
    )

    def session(self, sent: int, *, ended: bool = False, peer: tuple[str, int] = PEER) -> None:
        ended_s = 2000.0 if ended else None
        self.sessions.append(SessionAccount(peer, 1000.0, ended_s, frames_sent=sent))


@dataclass
class Desk:
    """A tally of one camera, `door`, with its clock and its notes in the test's hands."""

    camera: FakeCamera = field(default_factory=FakeCamera)
    now_s: float = 5.0
    notes: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        cameras: Any = {"door": self.camera}
        self.tally = Tally("counter", cameras, {PEER}, self._note, lambda: self.now_s)

    def _note(self, source: str, kind: str, values: Mapping[str, Any]) -> None:
        assert source == "app/counter"
        self.notes.append((kind, values))

    def of(self, kind: str) -> list[Mapping[str, Any]]:
        return [values for name, values in self.notes if name == kind]

    def connected(self, connection: int) -> None:
        self.tally.take(telemetry.CameraConnected("door", connection, 1001.0, "tcp"))

    def lost(self, connection: int, line: str = "Broken pipe") -> None:
        self.tally.take(telemetry.CameraLost("door", connection, 1002.0, line))

    def counts(
        self,
        connection: int = 1,
        *,
        packets: int,
        delivered: int,
        skipped: int = 0,
        dropped: int = 0,
        lost: int = 0,
    ) -> None:
        in_flight = packets - delivered - skipped - dropped
        self.tally.take(
            telemetry.Counts(
                "door", connection, packets, packets, delivered, skipped, dropped, in_flight, lost
            )
        )

    def frame(
        self, *detections: Any, put_s: float | None = 1001.2, arrived_s: float = 1001.1
    ) -> None:
        self.tally.take(
            telemetry.Frame("door", 1, 7, 15, 1_000_000, arrived_s, 1001.15, put_s, detections)
        )

    def stopped(self) -> None:
        self.tally.take(telemetry.Stopped(1003.0, "asked", 0))

    def account(self) -> dict[str, int]:
        """The final account without its names; its sums agree."""
        self.tally.account()
        (values,) = self.of("frames.account")
        assert values["camera"] == "door"
        assert values["instance"] == "counter"
        account = {k: v for k, v in values.items() if k not in ("camera", "instance")}
        assert account["sent"] == sum(account[part] for part in PARTS)
        assert min(account.values()) >= 0
        return account


@pytest.fixture
def desk() -> Desk:
    return Desk()


# --- accounts -------------------------------------------------------------------------------------


def test_an_application_without_frames_has_an_empty_account(desk: Desk) -> None:
    assert set(desk.account().values()) == {0}


def test_everything_delivered(desk: Desk) -> None:
    desk.camera.session(100)
    desk.connected(1)
    desk.counts(packets=100, delivered=100)
    desk.stopped()
    account = desk.account()
    assert (account["sent"], account["delivered"]) == (100, 100)


def test_what_the_process_knows_of_is_where_it_says(desk: Desk) -> None:
    desk.camera.session(100)
    desk.connected(1)
    desk.counts(packets=98, delivered=60, skipped=30, dropped=5)
    desk.stopped()
    assert desk.account() == {
        "sent": 100,
        "delivered": 60,
        "skipped_application": 30,
        "dropped_decoder": 5,
        "lost_network": 0,
        "in_flight": 5,  # 3 inside the process, 2 on their way when it closed the connection
    }


def test_frames_of_a_broken_connection_are_lost(desk: Desk) -> None:
    desk.camera.session(50, ended=True)
    desk.connected(1)
    desk.counts(1, packets=47, delivered=47)
    desk.lost(1)
    desk.camera.session(30)
    desk.connected(2)
    desk.counts(2, packets=30, delivered=30)
    desk.stopped()
    account = desk.account()
    assert account["sent"] == 80
    assert account["delivered"] == 77
    assert account["lost_network"] == 3
    assert account["in_flight"] == 0


def test_frames_of_a_connection_that_never_came_back_are_lost(desk: Desk) -> None:
    desk.camera.session(50, ended=True)
    desk.connected(1)
    desk.counts(1, packets=40, delivered=40)
    desk.lost(1)
    desk.stopped()
    account = desk.account()
    assert (account["lost_network"], account["in_flight"]) == (10, 0)


def test_frames_under_way_when_a_camera_was_paused_are_not_lost(desk: Desk) -> None:
    desk.camera.session(20, ended=True)
    desk.connected(1)
    desk.counts(1, packets=18, delivered=18)
    desk.lost(1)
    desk.camera.session(50, ended=True)
    desk.connected(2)
    desk.tally.take(telemetry.CameraPaused("door", 2, 1002.0))
    desk.counts(2, packets=47, delivered=45, skipped=2)
    desk.camera.session(30)
    desk.connected(3)
    desk.counts(3, packets=30, delivered=30)
    desk.stopped()
    account = desk.account()
    assert (account["sent"], account["delivered"]) == (100, 93)
    assert (account["lost_network"], account["in_flight"]) == (2, 3)
    assert len(desk.of("camera.lost")) == 1


def test_several_losses_add_up(desk: Desk) -> None:
    for number, (sent, came) in enumerate(((20, 18), (30, 30), (10, 5)), start=1):
        desk.camera.session(sent, ended=True)
        desk.connected(number)
        desk.counts(number, packets=came, delivered=came)
        desk.lost(number)
    desk.camera.session(5)
    desk.connected(4)
    desk.counts(4, packets=5, delivered=5)
    desk.stopped()
    account = desk.account()
    assert (account["sent"], account["lost_network"], account["in_flight"]) == (65, 7, 0)


def test_frames_that_the_reader_misses_are_lost_while_the_connection_is_up(desk: Desk) -> None:
    desk.camera.session(100)
    desk.connected(1)
    desk.counts(packets=90, delivered=90, lost=7)
    desk.stopped()
    account = desk.account()
    assert (account["lost_network"], account["in_flight"]) == (7, 3)


def test_frames_that_were_never_sent_are_not_lost(desk: Desk) -> None:
    desk.camera.session(100)
    desk.camera.sessions[0].frames_dropped_at_sender = 5
    desk.connected(1)
    desk.counts(packets=97, delivered=97, lost=6)
    desk.stopped()
    account = desk.account()
    assert (account["lost_network"], account["in_flight"]) == (1, 2)


def test_a_reader_that_counts_too_many_loses_no_more_than_was_sent(desk: Desk) -> None:
    desk.camera.session(100)
    desk.connected(1)
    desk.counts(packets=98, delivered=98, lost=50)
    desk.stopped()
    assert desk.account()["lost_network"] == 2


def test_losses_of_a_broken_connection_count_once(desk: Desk) -> None:
    desk.camera.session(50, ended=True)
    desk.connected(1)
    desk.counts(1, packets=40, delivered=40, lost=6)
    desk.lost(1)
    desk.camera.session(30)
    desk.connected(2)
    desk.counts(2, packets=25, delivered=25, lost=4)
    desk.stopped()
    account = desk.account()
    assert (account["lost_network"], account["in_flight"]) == (14, 1)
    assert sum(window["lost"] for window in desk.of("frames.window")) == 10


def test_of_a_killed_process_the_rest_is_in_flight(desk: Desk) -> None:
    """It could not say what became of its last frames: they were on their way into it."""
    desk.camera.session(40, ended=True)
    desk.connected(1)
    desk.counts(packets=30, delivered=28)
    account = desk.account()
    assert (account["sent"], account["delivered"]) == (40, 28)
    assert (account["lost_network"], account["in_flight"]) == (0, 12)


def test_a_killed_process_keeps_the_losses_it_told_of(desk: Desk) -> None:
    desk.camera.session(50, ended=True)
    desk.connected(1)
    desk.counts(1, packets=45, delivered=45)
    desk.lost(1)
    desk.camera.session(20, ended=True)
    desk.connected(2)
    desk.counts(2, packets=10, delivered=10)
    account = desk.account()
    assert (account["lost_network"], account["in_flight"]) == (5, 10)


def test_a_process_killed_before_its_counts_came_loses_no_delivery(desk: Desk) -> None:
    """Frames were told one by one; the counts that would have summed them up were not."""
    desk.camera.session(12, ended=True)
    desk.connected(1)
    desk.counts(packets=5, delivered=5)
    for _ in range(8):
        desk.frame()
    account = desk.account()
    assert account["delivered"] == 8
    assert account["delivered"] >= sum(w["delivered"] for w in desk.of("frames.window"))


def test_other_readers_of_the_camera_are_not_counted(desk: Desk) -> None:
    desk.camera.session(100)
    desk.camera.session(999, peer=STRANGER)
    desk.connected(1)
    desk.counts(packets=100, delivered=100)
    desk.stopped()
    assert desk.account()["sent"] == 100


def test_later_counts_of_a_connection_replace_earlier_ones(desk: Desk) -> None:
    desk.camera.session(10)
    desk.connected(1)
    for packets in (3, 7, 10):
        desk.counts(packets=packets, delivered=packets)
    desk.stopped()
    assert desk.account()["delivered"] == 10


# --- windows --------------------------------------------------------------------------------------


def test_windows_follow_one_another_and_start_afresh(desk: Desk) -> None:
    desk.now_s = 6.0
    desk.frame(("person", 0.1, 0.1, 0.3, 0.4))
    desk.tally.report()
    desk.now_s = 7.0
    desk.tally.report()
    first, second = desk.of("frames.window")
    assert (first["from_s"], first["to_s"], first["delivered"]) == (5.0, 6.0, 1)
    assert (second["from_s"], second["to_s"], second["delivered"]) == (6.0, 7.0, 0)


def test_detections_are_scored_against_the_scene(desk: Desk) -> None:
    desk.frame(("person", 0.1, 0.1, 0.3, 0.4), ("vehicle", 0.5, 0.5, 0.6, 0.6))
    desk.frame()
    desk.tally.report()
    (window,) = desk.of("frames.window")
    assert (window["detected"], window["false"], window["missed"]) == (1, 1, 1)


def test_latency_is_from_capture_to_output(desk: Desk) -> None:
    """Frame 15 of the clip was captured a second after the camera's clock began."""
    desk.frame(put_s=1001.25)
    desk.tally.report()
    (window,) = desk.of("frames.window")
    latency = Histogram.from_json(window["latency_ms"])
    assert latency.count == 1
    assert latency.quantile(0.5) == pytest.approx(250.0, rel=0.01)


@pytest.mark.parametrize("put_s", [None, 1000.5, 1001.1 + LATENCY_MAX_S + 1.0])
def test_frames_without_a_possible_latency_count_all_the_same(
    desk: Desk, put_s: float | None
) -> None:
    desk.frame(put_s=put_s)
    desk.tally.report()
    (window,) = desk.of("frames.window")
    assert window["delivered"] == 1
    assert Histogram.from_json(window["latency_ms"]).count == 0


def test_inference_calls_are_measured(desk: Desk) -> None:
    desk.tally.take(telemetry.Inference("detector", 1001.0, 12.5))
    desk.tally.report()
    (window,) = desk.of("frames.window")
    assert Histogram.from_json(window["inference_ms"]).count == 1


# --- connections ----------------------------------------------------------------------------------


def test_the_first_frame_is_told_once(desk: Desk) -> None:
    desk.now_s = 6.5
    desk.connected(1)
    desk.lost(1)
    desk.connected(2)
    assert [kind for kind, _ in desk.notes] == [
        "camera.connected",
        "app.first-frame",
        "log.line",
        "camera.lost",
        "camera.connected",
    ]
    assert desk.of("app.first-frame") == [{"camera": "door", "duration_s": 1.5}]


def test_a_loss_is_told_once_however_often_it_is_tried_again(desk: Desk) -> None:
    desk.connected(1)
    for _ in range(5):
        desk.lost(1, "Failed to get SDP description")
    (lost,) = desk.of("camera.lost")
    assert lost == {
        "camera": "door",
        "instance": "counter",
        "line": "Failed to get SDP description",
    }


def test_the_node_logs_what_is_new_since_it_was_connected(desk: Desk) -> None:
    desk.connected(1)
    for line in ("Broken pipe", "404", "404", "404", "Broken pipe"):
        desk.lost(1, line)
    desk.connected(2)
    desk.lost(2, "Broken pipe")
    lines = desk.of("log.line")
    assert [line["line"] for line in lines] == ["Broken pipe", "404", "Broken pipe", "Broken pipe"]
    assert lines[0] == {
        "stream": "door",
        "camera": "door",
        "instance": "counter",
        "line": "Broken pipe",
    }


def test_troubles_of_a_stream_are_told_and_their_end(desk: Desk) -> None:
    desk.tally.take(telemetry.Trouble("door", "frozen", 1.0, 1, over=False, lasted_s=0.0))
    desk.tally.take(telemetry.Trouble("door", "frozen", 9.0, 40, over=True, lasted_s=6.5))
    desk.tally.take(telemetry.Trouble("door", "dark", 9.5, 1, over=False, lasted_s=0.0))
    for _ in range(2):
        desk.tally.report()
    windows = desk.of("frames.window")
    assert [window["troubles"] for window in windows] == [["dark", "frozen"], ["dark"]]
    common = {"camera": "door", "instance": "counter", "trouble": "frozen"}
    assert desk.notes[:2] == [
        ("camera.trouble", {**common, "count": 1}),
        ("camera.clear", {**common, "count": 40, "lasted_s": 6.5}),
    ]


def test_a_camera_that_was_never_reached_is_told_once(desk: Desk) -> None:
    for _ in range(5):
        desk.lost(0)
    assert len(desk.of("camera.lost")) == 1


def test_what_is_said_of_other_cameras_is_passed_over(desk: Desk) -> None:
    """The pipe is the application's, too: whatever comes through it, the run goes on."""
    desk.tally.take(telemetry.CameraConnected("elsewhere", 1, 1001.0, "tcp"))
    desk.tally.take(telemetry.Counts("elsewhere", 1, 1, 1, 1, 0, 0, 0, 0))
    assert desk.notes == []


# --- labels without boxes -------------------------------------------------------------------------


def labelled(desk: Desk, *classes: tuple[str, float], boxes: tuple[Any, ...] = ()) -> None:
    desk.tally.take(
        telemetry.Frame("door", 1, 7, 15, 1_000_000, 1001.1, 1001.15, 1001.2, boxes, classes)
    )


def scored(desk: Desk) -> tuple[str, int, int, int]:
    desk.tally.report()
    values = desk.of("frames.window")[-1]
    return values["sight"]["by"], values["detected"], values["false"], values["missed"]


def test_an_application_that_names_what_there_is_is_scored_by_label(desk: Desk) -> None:
    desk.connected(1)
    labelled(
        desk, (TRUTH.label, 0.9), ("12 FPS", 1.0)
    )  # of words that are no labels nothing is said
    labelled(desk)  # from then on silence counts too
    assert scored(desk) == ("labels", 1, 0, 1)


def test_an_application_that_never_says_a_label_is_scored_by_its_boxes(desk: Desk) -> None:
    desk.connected(1)
    labelled(desk, ("12 FPS", 1.0))
    assert scored(desk) == ("boxes", 0, 0, 1)


def test_an_application_that_draws_boxes_is_scored_by_them_for_ever(desk: Desk) -> None:
    desk.connected(1)
    labelled(desk, boxes=((TRUTH.label, TRUTH.left, TRUTH.top, TRUTH.right, TRUTH.bottom, 1.0),))
    labelled(desk, (TRUTH.label, 0.9))
    assert scored(desk) == ("boxes", 1, 0, 1)
