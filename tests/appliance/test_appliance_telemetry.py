"""The logs agent: what it makes of events, when it sends them, and what happens without a link."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from harness.appliance.effect import (
    Clock,
    NodeOutput,
    Noted,
    Receive,
    ReceiveAll,
    Sleep,
    Upload,
    UploadEvery,
)
from harness.appliance.firmware import Firmware, Online
from harness.appliance.telemetry import (
    ACTIVE_EVERY_S,
    LINE_LENGTH_MAX,
    LINES_MAX,
    PIECE_BYTES_MAX,
    lines,
    ship,
)
from harness.errors import HarnessError, LinkDown, PeerRefused

if TYPE_CHECKING:
    from harness.appliance.effect import Effect

URL = "https://cloud.test:443"


class Journal:
    def __init__(self, device: dict[str, Any]) -> None:
        self.values = {"device": device}


class Agent:
    """The program under test, with a link that the test makes and breaks."""

    def __init__(self, https: str = URL, version: str = "6.2.1") -> None:
        device = {"thing": "device-a", **({"https": https} if https else {})}
        self.firmware = Firmware.__new__(Firmware)
        self.firmware.journal = Journal(device)  # type: ignore[assignment]
        self.firmware.online = True
        self.firmware.slot = "a"
        self.firmware.fuses = 3
        self.firmware.manifest = SimpleNamespace(version=version)  # type: ignore[assignment]
        self.sent: list[Any] = []
        self.kept: list[UploadEvery] = []
        self.error: HarnessError | None = None
        self.now_s = 100.0
        self._program = ship(self.firmware)
        self._waiting: Effect = next(self._program)

    @classmethod
    def up(cls) -> Agent:
        """One that has told of its boot."""
        agent = cls()
        agent.hear(Noted(0.0, "appliance.state", {}))
        agent.sent.clear()
        return agent

    def hear(self, *messages: object) -> None:
        """Deliver messages that come at once, and run until the program waits again."""
        inbox = list(messages)
        effect, value, error = self._waiting, None, None
        while True:
            error = None
            if isinstance(effect, Receive):
                if not inbox:
                    break
                value = inbox.pop(0)
            elif isinstance(effect, ReceiveAll):
                value = tuple(inbox)
                inbox.clear()
            else:
                value, error = self._interpret(effect)
            effect = self._program.send(value) if error is None else self._program.throw(error)
        self._waiting = effect

    def _interpret(self, effect: Effect) -> tuple[Any, HarnessError | None]:
        if isinstance(effect, Clock):
            return self.now_s, None
        if isinstance(effect, Sleep):
            self.now_s += effect.delay_s
        elif isinstance(effect, UploadEvery):
            self.kept.append(effect)
        else:
            assert isinstance(effect, Upload)
            assert effect.url == f"{URL}/telemetry"
            if self.error is not None:
                return None, self.error
            self.sent.append(effect.document)
        return None, None

    @property
    def texts(self) -> list[str]:
        return [
            text
            for document in self.sent
            for batch in document["logs"]
            for _, text in batch["lines"]
        ]


@pytest.mark.parametrize(
    ("kind", "values", "stream", "text"),
    [
        ("link.connected", {"attempt": 1}, "occ_log", "INFO link.connected attempt=1"),
        ("link.lost", {"reason": "reset"}, "occ_log", "WARN link.lost reason=reset"),
        ("ota.phase", {"phase": "verify"}, "ota_log", "INFO ota.phase phase=verify"),
        ("job.reported", {"job": "d-0"}, "ota_log", "INFO job.reported job=d-0"),
        ("log.line", {"stream": "syslog", "line": "ERROR x"}, "syslog", "ERROR x"),
        ("node.ended", {"code": 1}, "occ_log", "WARN node.ended code=1"),
    ],
)
def test_events_become_lines(kind: str, values: dict[str, Any], stream: str, text: str) -> None:
    assert next(lines(Noted(1.0, kind, values))) == ("", stream, text)


@pytest.mark.parametrize(
    ("kind", "values", "more"),
    [
        ("appliance.state", {"state": "online"}, []),
        ("log.line", {"stream": "syslog", "line": "x"}, []),
        (
            "link.connected", {},
            [("", "shadow_log", "INFO device: reported; applications: subscribed")],
        ),
        ("link.lost", {}, [("", "cloudwatch_agent_logs", "WARN no link: lines wait")]),
        (
            "app.installed", {"instance": "app-1"},
            [("", "shadow_log", "INFO applications: reported instance=app-1 status=STARTING")],
        ),
        (
            "node.started", {"instance": "app-1", "attempt": 2},
            [
                ("", "shadow_log", "INFO applications: reported instance=app-1 status=RUNNING"),
                ("app-1", "mds", "INFO streams are opened attempt=2"),
            ],
        ),
        (
            "node.ended", {"instance": "app-1", "code": 1, "reason": "killed"},
            [("app-1", "mds", "WARN streams are closed code=1 reason=killed")],
        ),
        (
            "node.signalled", {"instance": "app-1", "paused": ["door"]},
            [
                ("", "shadow_log", "INFO applications: desired instance=app-1 paused=['door']"),
                ("app-1", "mds", "INFO streams are paused=['door']"),
            ],
        ),
    ],
)  # fmt: skip
def test_what_else_is_written_of_an_event(
    kind: str, values: dict[str, Any], more: list[tuple[str, str, str]]
) -> None:
    assert list(lines(Noted(1.0, kind, values)))[1:] == more


@pytest.mark.parametrize(("version", "kernel"), [("4.3.35", False), ("4.3.45", True)])
def test_a_boot_is_told_of(version: str, kernel: bool) -> None:
    agent = Agent(version=version)
    agent.hear(Online())
    (document,) = agent.sent
    found = {one["stream"]: [text for _, text in one["lines"]] for one in document["logs"]}
    assert set(found) == {"logging_setup_logs", "cloudwatch_agent_logs"} | (
        {"kern_log"} if kernel else set()
    )
    (streams,) = found["logging_setup_logs"]
    assert ("kern_log" in streams) is kernel
    if kernel:
        assert found["kern_log"] == [
            f"INFO root is slot a, verified, of {version}", "INFO fuse level is 3",
        ]  # fmt: skip


def test_lines_are_gathered_and_sent_together() -> None:
    agent = Agent.up()
    agent.hear(
        Noted(101.0, "link.refused", {}),
        NodeOutput(101.0, "app-1", "console_output", ("hello", "world")),
        Noted(1.0, "ota.phase", {"phase": "download"}),
    )
    (document,) = agent.sent
    assert [(one["application"], one["stream"]) for one in document["logs"]] == [
        ("", "occ_log"), ("app-1", "console_output"), ("", "ota_log"),
    ]  # fmt: skip
    assert document["sent_s"] > document["logs"][0]["lines"][0][0]
    assert document["metrics"] == []


def test_a_crash_is_an_application_error() -> None:
    agent = Agent.up()
    ended = Noted(1.0, "node.ended", {"instance": "app-1", "code": 1})
    agent.hear(ended, ended)
    assert agent.sent[0]["metrics"] == [
        {"name": "ApplicationErrors", "application": "app-1", "value": 2.0}
    ]
    agent.hear(Noted(1.0, "link.lost", {}))
    assert agent.sent[1]["metrics"] == []


def test_it_is_active_while_the_link_is_up() -> None:
    agent = Agent()
    agent.hear(Online())
    (kept,) = agent.kept
    assert kept.every_s == ACTIVE_EVERY_S
    assert kept.document["metrics"] == [{"name": "DeviceActive", "value": 1.0}]


def test_without_a_link_lines_wait_and_the_oldest_give_way() -> None:
    agent = Agent.up()
    agent.firmware.online = False
    for number in range(LINES_MAX + 5):
        agent.hear(NodeOutput(1.0, "app-1", "console_output", (f"line {number}",)))
    assert agent.sent == []
    agent.firmware.online = True
    agent.hear(Online())
    assert agent.texts[0] == "line 6"
    assert agent.texts[-1] == "WARN 5 lines were dropped while they waited"


def test_what_could_not_be_sent_is_sent_later_and_what_was_refused_is_not() -> None:
    agent = Agent.up()
    agent.error = LinkDown("gone")
    agent.hear(Noted(1.0, "link.lost", {}))
    agent.error = None
    agent.hear(Noted(1.0, "appliance.state", {}))
    assert agent.texts == ["WARN link.lost", "INFO appliance.state", "WARN no link: lines wait"]
    agent.error = PeerRefused("400")
    agent.hear(NodeOutput(1.0, "removed", "console_output", ("late",)))
    agent.error = None
    agent.hear(Noted(1.0, "appliance.state", {}))
    assert agent.texts[3:] == ["INFO appliance.state"]


def test_uploads_are_bounded() -> None:
    agent = Agent.up()
    text = "x" * (2 * LINE_LENGTH_MAX)
    count = 3 * PIECE_BYTES_MAX // LINE_LENGTH_MAX
    agent.hear(NodeOutput(1.0, "app-1", "console_output", (text,) * count))
    assert len(agent.sent) == 3
    assert {len(told) for told in agent.texts} == {LINE_LENGTH_MAX}
    assert len(agent.texts) == count


def test_an_appliance_that_knows_no_address_keeps_silent() -> None:
    agent = Agent(https="")
    agent.hear(Online(), Noted(1.0, "link.connected", {}))
    assert agent.sent == []
    assert agent.kept == []
