"""What the display node draws: tiles, their order and place, marks, and what is no picture."""

from __future__ import annotations

import io
import os
import struct
from typing import TYPE_CHECKING, cast

import av
import numpy as np
import pytest

from harness.runtime.display import HEIGHT_PX, WIDTH_PX, Display, Shown, grid, tile, tiled
from harness.runtime.screen import PictureReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


def plain(level: int, width: int = 640, height: int = 360) -> NDArray[np.uint8]:
    return np.full((height, width, 3), level, np.uint8)


def shown(picture: object) -> Shown:
    return Shown(cast("NDArray[np.uint8]", picture), (), ())


def decoded(jpeg: bytes) -> NDArray[np.uint8]:
    with av.open(io.BytesIO(jpeg), "r", format="mjpeg") as container:
        frame = next(container.decode(video=0))
    return cast("NDArray[np.uint8]", frame.to_ndarray(format="bgr24"))


@pytest.mark.parametrize(
    ("count", "expected"), [(0, (1, 1)), (1, (1, 1)), (2, (2, 1)), (3, (2, 2)), (8, (3, 3))]
)
def test_tiles_are_laid_out_as_near_to_a_square_as_they_fit(
    count: int, expected: tuple[int, int]
) -> None:
    assert grid(count) == expected


def test_tiles_stand_in_the_middle_of_their_places_row_by_row() -> None:
    screen = tiled([tile(shown(plain(10 * n)), 640, 360) for n in (1, 2, 3)])
    assert screen.shape == (HEIGHT_PX, WIDTH_PX, 3)
    assert [int(screen[y, x, 0]) for y, x in ((180, 320), (180, 960), (540, 320), (540, 960))] == [
        *(10, 20, 30),
        0,
    ]


def test_a_tile_keeps_the_aspect() -> None:
    assert tile(shown(plain(9, 400, 400)), 640, 360).shape == (360, 360, 3)


def test_rectangles_and_labels_are_drawn_on_the_screen_and_not_into_the_image() -> None:
    image = plain(0)
    drawn = tile(
        Shown(image, [(0.25, 0.25, 0.75, 0.75), (0, 0, 1, 1)], [("Ab", 0.5, 0.5)]), 640, 360
    )
    green = drawn[:, :, 1] > 200
    assert green[90, 160:480].all()
    assert green[:, 0].all()
    assert green[-1].all()
    assert green[160:178, 318:346].any()
    assert not green[100:150, 170:470].any()
    assert not image.any()


@pytest.mark.parametrize(
    "bad",
    [None, "text", np.zeros((3, 4)), np.zeros((9, 9, 4), np.uint8), np.zeros((0, 9, 3), np.uint8)],
)
def test_what_is_no_picture_is_said_to_be_none(bad: object) -> None:
    drawn = tile(shown(bad), 640, 360)
    assert drawn.shape == (360, 640, 3)
    assert drawn.any()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    os.close(read)
    os.close(write)


def read_picture(fd: int) -> bytes:
    pictures = PictureReader()
    while True:
        found = list(pictures.feed(os.read(fd, 1 << 16)))
        if found:
            return found[0]


def test_only_what_is_wanted_is_drawn_and_two_outputs_share_the_screen(
    pipe: tuple[int, int],
) -> None:
    display = Display(pipe[1], ("first", "second"))
    display.put("first", [shown(plain(50))])  # nobody asked yet
    display.want(1e6)
    display.put("hidden", [shown(plain(99))])
    display.put("first", [shown(plain(100))])
    assert abs(int(decoded(read_picture(pipe[0]))[360, 640, 0]) - 100) <= 2
    display.put("second", [shown(plain(200))])
    picture = decoded(read_picture(pipe[0]))
    assert abs(int(picture[360, 960, 0]) - 200) <= 2
    display.want(0)
    display.put("first", [shown(None)])


def test_without_tiles_the_first_frame_alone_is_shown(pipe: tuple[int, int]) -> None:
    display = Display(pipe[1], ("first",), tiled=False)
    display.want(1e6)
    display.put("first", [shown(plain(50)), shown(plain(200))])
    picture = decoded(read_picture(pipe[0]))
    assert abs(int(picture[360, 960, 0]) - 50) <= 2


def test_bytes_that_are_no_picture_end_the_belief() -> None:
    pictures = PictureReader(bytes_max=100)
    good = struct.pack(">I", 4) + b"\xff\xd8ab"
    assert list(pictures.feed(good[:5])) == []
    assert list(pictures.feed(good[5:] + struct.pack(">I", 2) + b"no" + good)) == [
        *(b"\xff\xd8ab",) * 2
    ]
    assert list(pictures.feed(struct.pack(">I", 101) + good)) == []
    assert pictures.broken
    assert list(pictures.feed(good)) == []
