"""Clips packetised once, ready to send: per camera and frame only headers are patched.

An access unit becomes one blob of RTP packets, each behind the four bytes of RTSP's interleaved
framing (RFC 2326, 10.12). All cameras that show a clip share its blobs: a camera writes its own
sequence numbers, time stamp and SSRC into them just before it hands them to the kernel, which
copies. Nothing may keep a blob beyond that; what the kernel does not take is copied.

Over UDP the same bytes go without the framing, as views of the packets inside the blob: singly,
or in bursts that the kernel cuts into datagrams (`UDP_SEGMENT`, Linux 4.18). The views are made
when the first reader asks for UDP.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from harness.camera.serve import media, quirk
from harness.camera.wire import rtp
from harness.scenario.quirk import NONE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.camera.picture.clip import Clip
    from harness.scenario.quirk import Quirks

_FRAMING_BYTES = 4
_SEQUENCE_OFFSET = _FRAMING_BYTES + 2
_patch_header = struct.Struct(">HII").pack_into

UDP_LEVEL = 17  # IPPROTO_UDP
UDP_SEGMENT = 103  # <linux/udp.h>; the socket module has no name for it
SEGMENTS_MAX = 64  # UDP_MAX_SEGMENTS of every kernel that has it
BURST_BYTES_MAX = 65_000  # an IP packet, less headers

Ancillary: TypeAlias = "tuple[tuple[int, int, bytes], ...]"
Burst: TypeAlias = "tuple[tuple[memoryview, ...], Ancillary]"  # the arguments of `sendmsg`


@dataclass(slots=True)
class PackedUnit:
    """One access unit as interleaved packets. `first` counts the packets of the clip before it.

    `lag_ticks` of the RTP clock pass between capture and sending where B-frames make it so.
    """

    blob: bytearray
    offsets: tuple[int, ...]  # of the sequence number of every packet
    first: int
    octets: int  # of RTP payload
    key: bool
    channel: int = 0
    lag_ticks: int = 0
    _datagrams: tuple[memoryview, ...] = field(default=(), repr=False, compare=False)
    _bursts: tuple[Burst, ...] = field(default=(), repr=False, compare=False)

    def patch(self, sequence: int, timestamp: int, ssrc: int) -> None:
        """Make the packets those of one camera and one moment."""
        blob = self.blob
        if self.lag_ticks:
            timestamp = timestamp - self.lag_ticks & 0xFFFFFFFF
        for offset in self.offsets:
            _patch_header(blob, offset, sequence & 0xFFFF, timestamp, ssrc)
            sequence += 1

    def set_channel(self, channel: int) -> None:
        """Readers choose the interleaved channel; nearly all choose 0."""
        for offset in self.offsets:
            self.blob[offset - _SEQUENCE_OFFSET + 1] = channel
        self.channel = channel

    def datagrams(self) -> tuple[memoryview, ...]:
        """The packets without the framing; they change with the blob."""
        if not self._datagrams:
            blob = memoryview(self.blob)
            begins = [offset - 2 for offset in self.offsets]
            ends = [*(begin - _FRAMING_BYTES for begin in begins[1:]), len(blob)]
            pairs = zip(begins, ends, strict=True)
            self._datagrams = tuple(blob[begin:end] for begin, end in pairs)
        return self._datagrams

    def bursts(self) -> tuple[Burst, ...]:
        """The packets in runs that one `sendmsg` each sends.

        All packets of a run have the size of its first one; only its last may be shorter.
        """
        if not self._bursts:
            self._bursts = tuple(map(_burst, _runs(self.datagrams())))
        return self._bursts


def _runs(datagrams: tuple[memoryview, ...]) -> list[list[memoryview]]:
    runs: list[list[memoryview]] = []
    for view in datagrams:
        run = runs[-1] if runs else []
        if (
            run
            and len(view) <= len(run[0]) == len(run[-1])
            and len(run) < SEGMENTS_MAX
            and len(run[0]) * (len(run) + 1) <= BURST_BYTES_MAX
        ):
            run.append(view)
        else:
            runs.append([view])
    return runs


def _burst(run: list[memoryview]) -> Burst:
    if len(run) == 1:
        return tuple(run), ()
    return tuple(run), ((UDP_LEVEL, UDP_SEGMENT, struct.pack("=H", len(run[0]))),)


@dataclass(frozen=True, slots=True)
class PackedClip:
    """All access units of a clip; `packets` is their number of packets in one loop.

    `sparse`: some of them are empty, since the camera leaves frames out.
    """

    clip: Clip
    units: tuple[PackedUnit, ...]
    packets: int
    sparse: bool = False

    @classmethod
    def pack(cls, clip: Clip, quirks: Quirks = NONE) -> PackedClip:
        units: list[PackedUnit] = []
        packets, codec = 0, clip.spec.coding.codec
        for unit in clip.access_units:
            payloads = media.payloads(codec, quirk.carried(quirks, codec, unit.nals))
            packed = _pack(payloads, packets, unit.key)
            packed.lag_ticks = round(unit.lag_frames * rtp.CLOCK_HZ / clip.spec.rate)
            units.append(packed)
            packets += len(packed.offsets)
        return cls(clip, tuple(units), packets, not all(unit.offsets for unit in units))

    def packets_before(self, frame: int) -> int:
        """Packets of all frames before camera frame `frame`, counted over the loops."""
        loop, index = divmod(frame, len(self.units))
        return loop * self.packets + self.units[index].first

    def frames_before(self, frame: int) -> int:
        """Frames before camera frame `frame`, without those that the camera leaves out."""
        if not self.sparse:
            return frame
        loop, index = divmod(frame, len(self.units))
        return loop * self._full(len(self.units)) + self._full(index)

    def _full(self, end: int) -> int:
        return sum(1 for unit in self.units[:end] if unit.offsets)

    def key_at_or_before(self, frame: int) -> int:
        while not self.units[frame % len(self.units)].key:
            frame -= 1
        return frame

    def key_at_or_after(self, frame: int) -> int:
        while not self.units[frame % len(self.units)].key:
            frame += 1
        return frame


def _pack(payloads: list[bytes], first: int, key: bool) -> PackedUnit:
    last = len(payloads)
    packets = (
        rtp.Packet(0, 0, 0, payload, marker=number == last).to_bytes()
        for number, payload in enumerate(payloads, 1)
    )
    return bundle(packets, first=first, key=key)


def bundle(packets: Iterable[bytes], *, first: int, key: bool) -> PackedUnit:
    """RTP packets, as they are, as an access unit."""
    blob = bytearray()
    offsets = []
    octets = 0
    for packet in packets:
        offsets.append(len(blob) + _SEQUENCE_OFFSET)
        octets += len(packet) - rtp.HEADER_BYTES
        blob += frame_interleaved(0, packet)
    return PackedUnit(blob, tuple(offsets), first, octets, key)


def frame_interleaved(channel: int, data: bytes) -> bytes:
    """`data` (at most 65,535 bytes) as RTSP's interleaved binary data."""
    return b"$" + bytes((channel,)) + len(data).to_bytes(2, "big") + data
