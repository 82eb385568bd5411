"""The display node inside the application process: what the outputs put, as one tiled picture.

The appliance has one HDMI output. While an application owns it the harness asks for a number of
pictures a second; each `put` that is due is drawn, tiles and all, into a picture of 1280x720 and
handed over as JPEG. Labels and rectangles are drawn here and never into the application's
arrays. Who owns HDMI, and who watches, is the harness's affair (`harness.runtime.screen`).
"""

from __future__ import annotations

import math
import os
import struct
import threading
import time
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias

import av
import numpy as np

from harness.record.glyph import GLYPH_HEIGHT, glyph

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Picture: TypeAlias = NDArray[np.uint8]
    Source: TypeAlias = "Picture | av.VideoFrame"
    Rect: TypeAlias = tuple[float, float, float, float]
    Label: TypeAlias = tuple[str, float, float]

WIDTH_PX, HEIGHT_PX = 1280, 720
JPEG_QUALITY = 4  # FFmpeg's scale for MJPEG, 2 (best) to 31
LENGTH = struct.Struct(">I")  # goes before each JPEG on the pipe
LINE_PX = 2
_INK = (80, 255, 80)  # BGR


@dataclass(frozen=True, slots=True)
class Shown:
    """One frame as it was put: `picture` is its image, or the decoded frame if none was made."""

    picture: Source
    rects: Sequence[Rect]
    labels: Sequence[Label]


class Display:
    """Draws what is put to the screen at the rate that is wanted, 0 while it is not owned.

    JPEG is made and written by a thread of its own, and the newest picture wins: a harness that
    reads slowly costs the application nothing.
    """

    def __init__(self, fd: int, outputs: Sequence[str], *, tiled: bool = True) -> None:
        """`fd` is the harness's pipe; `outputs` are the ports whose frames the display gets.

        Not `tiled` it shows the first frame of each alone, as firmware before 5.0.7 did.
        """
        self._tiled = tiled
        self._fd = fd
        self._put: dict[str, list[Picture]] = {name: [] for name in outputs}
        self._every_s = math.inf
        self._due_s = 0.0
        self._news = threading.Condition()
        self._tiles: list[Picture] | None = None
        self._thread: threading.Thread | None = None

    def want(self, rate_fps: float) -> None:
        """From any thread: this many pictures a second from now on."""
        self._every_s = 1.0 / rate_fps if rate_fps > 0 else math.inf
        self._due_s = 0.0
        if rate_fps > 0 and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="display", daemon=True)
            self._thread.start()

    def put(self, output: str, frames: Sequence[Shown]) -> None:
        """The output puts `frames`; they are drawn before it returns, so they may change then."""
        now_s = time.monotonic()
        if output not in self._put or self._every_s == math.inf or now_s < self._due_s:
            return
        self._due_s = now_s + self._every_s
        frames = frames if self._tiled else frames[:1]
        others = sum(len(tiles) for name, tiles in self._put.items() if name != output)
        width, height = tile_size(others + len(frames))
        self._put[output] = [tile(frame, width, height) for frame in frames]
        with self._news:
            self._tiles = [one for tiles in self._put.values() for one in tiles]
            self._news.notify()

    def _run(self) -> None:
        encoder = Encoder()
        while True:
            with self._news:
                self._news.wait_for(lambda: self._tiles is not None)
                tiles, self._tiles = self._tiles, None
            assert tiles is not None
            try:
                _write(self._fd, encoder.jpeg(tiled(tiles)))
            except OSError:  # the harness is gone
                return


def _write(fd: int, data: bytes) -> None:
    rest = memoryview(LENGTH.pack(len(data)) + data)
    while rest:
        rest = rest[os.write(fd, rest) :]


class Encoder:
    """Pictures of the screen's size to JPEG."""

    def __init__(self) -> None:
        context = av.CodecContext.create("mjpeg", "w")
        assert isinstance(context, av.VideoCodecContext)
        context.width, context.height, context.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuvj420p"
        context.time_base = Fraction(1, 90_000)
        context.options = {"qmin": str(JPEG_QUALITY), "qmax": str(JPEG_QUALITY)}
        self._context = context
        self._count = 0

    def jpeg(self, picture: Picture) -> bytes:
        frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
        frame = frame.reformat(format="yuvj420p")
        frame.pts = self._count
        self._count += 1
        return b"".join(bytes(packet) for packet in self._context.encode(frame))


def grid(count: int) -> tuple[int, int]:
    """Columns and rows for so many tiles: as near to a square as holds them."""
    columns = max(1, math.ceil(math.sqrt(count)))
    return columns, max(1, math.ceil(count / columns))


def tile_size(count: int) -> tuple[int, int]:
    columns, rows = grid(count)
    return WIDTH_PX // columns, HEIGHT_PX // rows


def tiled(tiles: Sequence[Picture]) -> Picture:
    """The screen with `tiles` row by row, each in the middle of its place."""
    screen = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    columns, _ = grid(len(tiles))
    width, height = tile_size(len(tiles))
    for number, one in enumerate(tiles):
        row, column = divmod(number, columns)
        one = one[:height, :width]
        top = row * height + (height - one.shape[0]) // 2
        left = column * width + (width - one.shape[1]) // 2
        screen[top : top + one.shape[0], left : left + one.shape[1]] = one
    return screen


def tile(shown: Shown, width_px: int, height_px: int) -> Picture:
    """A new picture that fits, keeping the aspect, with its rectangles and labels drawn in."""
    frame = _as_frame(shown.picture)
    if frame is None:
        blank = np.zeros((height_px, width_px, 3), np.uint8)
        _write_text(blank, "not a picture: H x W x 3, uint8", 0.02, 0.1)
        return blank
    scale = min(width_px / frame.width, height_px / frame.height)
    width = max(2, int(frame.width * scale) // 2 * 2)
    height = max(2, int(frame.height * scale) // 2 * 2)
    small = frame.to_ndarray(format="bgr24", width=width, height=height)
    picture: Picture = np.require(small, np.uint8, ["C", "W"])
    for rect in shown.rects:
        _frame(picture, rect)
    for text, x, y in shown.labels:
        _write_text(picture, text, x, y)
    return picture


def _as_frame(picture: object) -> av.VideoFrame | None:
    """None for what no display could show: an application may put anything into `image`."""
    if isinstance(picture, av.VideoFrame):
        return picture
    fits = isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.ndim == 3
    if not fits or picture.shape[2] != 3 or min(picture.shape) < 2:  # type: ignore[attr-defined]
        return None
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="bgr24")


def _frame(picture: Picture, rect: Rect) -> None:
    height, width = picture.shape[:2]
    left, right = sorted((round(rect[0] * (width - 1)), round(rect[2] * (width - 1))))
    top, bottom = sorted((round(rect[1] * (height - 1)), round(rect[3] * (height - 1))))
    picture[top : top + LINE_PX, left : right + 1] = _INK
    picture[max(0, bottom + 1 - LINE_PX) : bottom + 1, left : right + 1] = _INK
    picture[top : bottom + 1, left : left + LINE_PX] = _INK
    picture[top : bottom + 1, max(0, right + 1 - LINE_PX) : right + 1] = _INK


def _write_text(picture: Picture, text: str, x: float, y: float) -> None:
    """`text` with its lower left corner at (x, y), moved up or down to where it can be read."""
    if not text:
        return
    height, width = picture.shape[:2]
    dot = 2 if height >= HEIGHT_PX // 2 else 1
    dots = np.concatenate([glyph(letter) for letter in text.upper()[:80]], axis=1)
    ink = dots.repeat(dot, axis=0).repeat(dot, axis=1)
    left = min(round(x * width), width - 1)
    top = max(0, min(round(y * height) - (GLYPH_HEIGHT + 1) * dot, height - ink.shape[0]))
    ink = ink[: height - top, : width - left]
    picture[top : top + ink.shape[0], left : left + ink.shape[1]][ink] = _INK
