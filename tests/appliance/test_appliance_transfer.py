"""Over a link that breaks: documents again from the start, downloads from where they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness.appliance import transfer
from harness.appliance.storage import DATA
from harness.appliance.transfer import GIVE_UP_S, RETRY_S
from harness.engine.sweep.box import Box
from harness.engine.sweep.cloud import Cloud
from harness.engine.sweep.stand import empty_disk
from harness.errors import HarnessError, LinkDown, PeerRefused

if TYPE_CHECKING:
    from harness.appliance.effect import Program

CONTENT = bytes(range(256)) * 20
AT = 4096


class _Outcome:
    value: Any = None
    error: HarnessError | None = None


def _box(program: Program[Any]) -> tuple[Box, _Outcome]:
    """The program alone on a box that has a network; its outcome comes later."""
    box, outcome = Box(empty_disk(), Cloud(content={"file": CONTENT})), _Outcome()

    def keep() -> Program[None]:
        try:
            outcome.value = yield from program
        except HarnessError as error:
            outcome.error = error

    box._launch("main", keep())
    return box, outcome


def test_a_document_comes_when_the_link_does() -> None:
    box, outcome = _box(transfer.get("file"))
    box.break_link()
    box.run(for_s=3 * RETRY_S)
    assert outcome.value is None
    box.mend_link()
    box.run(for_s=RETRY_S)
    assert outcome.value == CONTENT


def test_a_document_is_given_up_in_the_end() -> None:
    box, outcome = _box(transfer.get("file"))
    box.break_link()
    box.run(for_s=GIVE_UP_S - RETRY_S)
    assert outcome.error is None
    box.run(for_s=2 * RETRY_S)
    assert isinstance(outcome.error, LinkDown)


def test_a_refusal_is_not_asked_again() -> None:
    box, outcome = _box(transfer.get("missing"))
    box.run()
    assert isinstance(outcome.error, PeerRefused)
    assert box.moments == 2


def test_a_download_lands_in_its_place_and_is_durable() -> None:
    box, _ = _box(transfer.download("file", DATA, AT, len(CONTENT)))
    box.run()
    box.cut_power()
    assert box.disk[DATA].read(AT, len(CONTENT)) == CONTENT


def test_what_never_comes_whole_is_given_up_with_the_count() -> None:
    box, outcome = _box(transfer.download("file", DATA, AT, len(CONTENT)))
    box.break_after_steps = 0
    box.run(for_s=GIVE_UP_S + 2 * RETRY_S)
    assert isinstance(outcome.error, LinkDown)
    assert f"0 of {len(CONTENT)} bytes" in str(outcome.error)


@pytest.mark.parametrize("more", [-1, 1])
def test_content_of_another_length_is_refused_at_once(more: int) -> None:
    box, outcome = _box(transfer.download("file", DATA, AT, len(CONTENT) + more))
    box.run(for_s=RETRY_S)
    assert isinstance(outcome.error, PeerRefused)
    assert f"{len(CONTENT)} bytes, not {len(CONTENT) + more}" in str(outcome.error)
    assert box.disk[DATA].read(AT, 1) == b"\0"


def test_a_download_in_segments_says_how_far_it_is_and_may_be_ended_there() -> None:
    seen: list[int] = []

    def reached(done: int) -> Program[None]:
        seen.append(done)
        if done >= 4096:
            raise PeerRefused("enough")
        yield from ()

    download = transfer.download(
        "file", DATA, AT, len(CONTENT), start=1000, segment=2048, reached=reached
    )
    box, outcome = _box(download)
    box.run(for_s=RETRY_S)
    assert seen == [2048, 4096]
    assert str(outcome.error) == "enough"
    assert box.fetches == [("file", 1000), ("file", 2048)]
    assert box.disk[DATA].read(AT, 4097) == bytes(1000) + CONTENT[1000:4096] + b"\0"


def test_a_message_that_cannot_be_sent_is_no_error() -> None:
    program = transfer.publish("topic", {})
    next(program)
    with pytest.raises(StopIteration) as end:
        program.throw(LinkDown("no connection"))
    assert end.value.value is False
