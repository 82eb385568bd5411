"""The strip of cells that carries a frame code: drawing it, finding it again, sampling its cells.

The strip lies along the top edge of the picture, as wide as the picture and 3/48 of that high.
In units of one cell (1/48 of the width):

    0.0 - 0.5   white bar, the finder: its ends tell where the picture starts and stops
    0.5 - 2.5   four rows of guard (white, black), 44 data cells, guard (black, white)
    2.5 - 3.0   white bar: its distance from the first tells the height of a cell

Everything is a fraction of the width, so scaling the picture needs no search; letterboxed and
squeezed pictures are found through the bars, cropped ones through the rhythm of the edges
between cells. The cells are grey, so chroma subsampling does not touch them.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Picture: TypeAlias = NDArray[np.uint8]
    Cells: TypeAlias = NDArray[np.float32]  # how bright, rows x columns

CELLS = 48
GUARD_CELLS = 2
DATA_CELLS = CELLS - 2 * GUARD_CELLS
ROWS = 4
STRIP_CELLS = 3.0
BAR_CELLS = 0.5
ROW_CELLS = (STRIP_CELLS - 2 * BAR_CELLS) / ROWS
WIDTH_MIN_PX = 192  # 4 pixels a cell
CONTRAST_MIN = 40.0  # white guard minus black guard, of 255
SEEN_CELLS_MIN = 22  # of a cropped strip: fewer cannot hold a code
_FINDER_LEVEL = 140
_FINDER_HOLES = 0.02  # share of a finder row that noise may darken
_SAMPLES = (-0.25, -0.08, 0.08, 0.25)  # where a cell is sampled, from its middle, in its sizes
_STRETCHES = np.linspace(0.9, 1.1, 81)  # how far off the height of a cell may be from its width


@dataclass(frozen=True, slots=True)
class Place:
    """Where the strip lies in a picture: its corner and the size of a cell, in pixels."""

    left: float
    top: float
    cell_width: float
    cell_height: float
    cells: int = CELLS  # how many of them are in the picture, from `left` on


def whole(width_px: int) -> Place:
    """The place of the strip in a picture `width_px` wide that nobody moved or cut."""
    return Place(0.0, 0.0, width_px / CELLS, width_px / CELLS)


def strip_height_px(width_px: int) -> int:
    """Rows of a picture `width_px` wide that the strip covers, from the top."""
    return math.ceil(width_px * STRIP_CELLS / CELLS)


def paint(image: Picture, bits: NDArray[np.uint8]) -> None:
    """Draw the strip with `bits` (rows x data cells) into `image`, BGR or a luma plane."""
    height, width = image.shape[:2]
    rows = strip_height_px(width)
    if width < WIDTH_MIN_PX or height < rows:
        raise ValueError(
            f"a {width}x{height} picture is too small for a frame code: "
            f"at least {WIDTH_MIN_PX} wide and {rows} high"
        )
    black, white = (16, 235) if image.ndim == 2 else (0, 255)
    cells = np.full((ROWS + 2, CELLS), white, np.uint8)
    cells[1:-1, 1] = cells[1:-1, -2] = black
    cells[1:-1, GUARD_CELLS:-GUARD_CELLS] = np.where(bits, white, black)
    columns, bounds = _layout(width)
    for row, (first, last) in enumerate(bounds):
        line = cells[row, columns]
        image[first:last] = line if image.ndim == 2 else line[:, None]


@lru_cache(maxsize=8)
def _layout(width: int) -> tuple[NDArray[np.intp], tuple[tuple[int, int], ...]]:
    """The cell of every column, and the rows of bar, data, bar."""
    columns = (np.arange(width) * CELLS // width).astype(np.intp)
    edges = [0.0, *(BAR_CELLS + ROW_CELLS * row for row in range(ROWS + 1))]
    rows = [round(edge * width / CELLS) for edge in edges] + [strip_height_px(width)]
    return columns, tuple(itertools.pairwise(rows))


def sample(image: Picture, place: Place) -> Cells | None:
    """How bright the cells of the strip at `place` are; None where it is not in the picture."""
    rows, columns = _sample_points(place)
    if rows[-1] >= image.shape[0] or columns[-1] >= image.shape[1]:
        return None
    samples = image[rows[:, None], columns].astype(np.float32)
    cells: Cells = samples.reshape(ROWS, len(_SAMPLES), place.cells, -1).mean(axis=(1, 3))
    return cells


@lru_cache(maxsize=32)
def _sample_points(place: Place) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    offsets = np.array(_SAMPLES)
    middle_rows = BAR_CELLS + ROW_CELLS * (np.arange(ROWS)[:, None] + 0.5 + offsets)
    middle_columns = np.arange(place.cells)[:, None] + 0.5 + offsets
    rows = place.top + middle_rows.ravel() * place.cell_height
    columns = place.left + middle_columns.ravel() * place.cell_width
    return rows.astype(np.intp), columns.astype(np.intp)


def levels(cells: Cells) -> tuple[Cells, Cells] | None:
    """Middle between white and black, and half their distance, per row of a whole strip.

    None where the guards do not look like guards.
    """
    white = cells[:, (0, -1)].mean(axis=1)
    black = cells[:, (1, -2)].mean(axis=1)
    if (white - black).min() < CONTRAST_MIN:
        return None
    return ((white + black) / 2)[:, None], ((white - black) / 2)[:, None]


def locate(image: Picture) -> Place | None:
    """Find the two white bars: rows that are white from their first to their last white pixel."""
    plane = image if image.ndim == 2 else image[:, :, 1]
    white = plane > _FINDER_LEVEL
    counts = np.count_nonzero(white, axis=1)
    first = white.argmax(axis=1)
    last = white.shape[1] - 1 - white[:, ::-1].argmax(axis=1)
    span = last - first + 1
    solid = (counts >= WIDTH_MIN_PX // 2) & (counts >= span * (1 - _FINDER_HOLES))
    tops = np.flatnonzero(solid)
    if len(tops) == 0:
        return None
    left, width = float(np.median(first[tops[:2]])), float(np.median(span[tops[:2]]))
    alike = solid & (abs(first - left) <= width * 0.01) & (abs(span - width) <= width * 0.02)
    bars = _first_two_groups(np.flatnonzero(alike))
    if bars is None:
        return None
    top, bottom = bars
    return Place(left, float(top), width / CELLS, (bottom + 1 - top) / STRIP_CELLS)


def _first_two_groups(rows: NDArray[np.intp]) -> tuple[int, int] | None:
    """First row of the first run of consecutive rows and last row of the second run."""
    breaks = np.flatnonzero(np.diff(rows) > 1)
    if len(breaks) == 0:
        return None
    end = breaks[1] if len(breaks) > 1 else len(rows) - 1
    return int(rows[0]), int(rows[end])


def locate_cropped(image: Picture, bars: Place) -> Place | None:
    """The whole cells between `bars` of a strip whose ends are cut off.

    The height of a cell is a guess at its width; the exact width and where cells begin follow
    from the edges between cells, which come in its rhythm (the peak of their spectrum).
    """
    plane = image if image.ndim == 2 else image[:, :, 1]
    end = bars.left + bars.cell_width * CELLS
    lines = [bars.top + (BAR_CELLS + ROW_CELLS * (r + 0.5)) * bars.cell_height for r in range(ROWS)]
    if lines[-1] >= plane.shape[0]:
        return None
    rows = plane[np.array(lines, np.intp), int(bars.left) : int(end)].astype(np.float32)
    edges = np.abs(np.diff(rows, axis=1)).sum(axis=0)
    widths = bars.cell_height * _STRETCHES
    waves = np.exp(-2j * np.pi * np.arange(1, len(edges) + 1) / widths[:, None])
    spectrum = waves @ edges
    best = int(np.abs(spectrum).argmax())
    width = float(widths[best])
    begin = -float(np.angle(spectrum[best])) / (2 * math.pi) * width % width
    cells = int((end - bars.left - begin) / width + 0.02)
    if not SEEN_CELLS_MIN <= cells < CELLS:
        return None
    return Place(bars.left + begin, bars.top, width, bars.cell_height, cells)


def seen_levels(cells: Cells) -> tuple[Cells, Cells] | None:
    """`levels` of a strip without its guards: from the brightest and darkest cells of each row."""
    white, black = np.quantile(cells, 0.85, axis=1), np.quantile(cells, 0.15, axis=1)
    if (white - black).min() < CONTRAST_MIN:
        return None
    middle, half = (white + black) / 2, (white - black) / 2
    return middle[:, None].astype(np.float32), half[:, None].astype(np.float32)


def shifts(bright: NDArray[np.bool_]) -> Iterator[int]:
    """First cells that a cropped strip may begin with, by what is seen of its guards."""
    count = bright.shape[1]
    share = bright.mean(axis=0)
    for shift in range(CELLS - count + 1):
        wanted = {0: 1.0, 1: 0.0, CELLS - 2: 0.0, CELLS - 1: 1.0}
        inside = ((c - shift, level) for c, level in wanted.items() if 0 <= c - shift < count)
        if all(abs(share[c] - level) < 0.5 for c, level in inside):
            yield shift
