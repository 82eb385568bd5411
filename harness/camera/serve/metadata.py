"""The metadata track: the true boxes of every frame, as cameras stream their analytics.

ONVIF Streaming Specification, 5.1.2.1 (payload `vnd.onvif.metadata`, 90 kHz, the marker bit ends
a document) and ONVIF Analytics Service Specification, 5.3 (`tt:Frame`). Coordinates are ONVIF's:
-1 to 1, the y axis upward.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from harness.camera.wire import rtp

if TYPE_CHECKING:
    from harness.camera.picture.scene import Box
    from harness.camera.serve.session import Carrier

PAYLOAD_TYPE = 107
ENCODING = "vnd.onvif.metadata"
CLASSES = {"person": "Human", "vehicle": "Vehicle"}  # ONVIF's names; others go as they are


class Track:
    """One reader's metadata: sequence and counts of its own."""

    __slots__ = ("carrier", "dropped", "octets", "packets", "sequence", "ssrc")

    def __init__(self, carrier: Carrier, ssrc: int) -> None:
        self.carrier = carrier
        self.ssrc = ssrc
        self.sequence = ssrc & 0xFFFF
        self.packets = self.octets = self.dropped = 0

    def send(self, document: bytes, timestamp: int) -> None:
        """A document, in as many packets as it takes; where there is no room it is dropped."""
        limit = rtp.PAYLOAD_BYTES_MAX
        for begin in range(0, len(document), limit):
            payload = document[begin : begin + limit]
            last = begin + limit >= len(document)
            packet = rtp.Packet(self.sequence, timestamp, self.ssrc, payload, last, PAYLOAD_TYPE)
            if not self.carrier.send_packet(packet.to_bytes()):
                self.dropped += 1
                return
            self.sequence = self.sequence + 1 & 0xFFFF
            self.packets += 1
            self.octets += len(payload)


def document(boxes: tuple[Box, ...], wall_s: float) -> bytes:
    """A `tt:MetadataStream` with one frame, captured at `wall_s` (Unix time)."""
    moment = datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="milliseconds")
    objects = "".join(_object(number, box) for number, box in enumerate(boxes))
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<tt:MetadataStream xmlns:tt="http://www.onvif.org/ver10/schema"><tt:VideoAnalytics>'
        f'<tt:Frame UtcTime="{moment.replace("+00:00", "Z")}">{objects}</tt:Frame>'
        "</tt:VideoAnalytics></tt:MetadataStream>"
    ).encode()


def _object(number: int, box: Box) -> str:
    return (
        f'<tt:Object ObjectId="{number}"><tt:Appearance><tt:Shape><tt:BoundingBox '
        f'left="{box.left * 2 - 1:.5f}" top="{1 - box.top * 2:.5f}" '
        f'right="{box.right * 2 - 1:.5f}" bottom="{1 - box.bottom * 2:.5f}"/></tt:Shape>'
        f'<tt:Class><tt:Type Likelihood="1">{CLASSES.get(box.label, box.label)}</tt:Type>'
        "</tt:Class></tt:Appearance></tt:Object>"
    )
