"""Two small pictures of how good the model is, as SVG; the same bytes for the same model."""

from __future__ import annotations

from math import floor, log10
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np

from harness.calibration.observation import TIME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.calibration.score import Scored

WIDTH, HEIGHT = 640, 440
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 20, 50
COLOURS = ("#0b6e99", "#d9730d", "#448361", "#9065b0", "#c14c8a", "#787774", "#a5522d", "#2f3437")
INK, GRID, PAPER = "#37352f", "#e3e2e0", "#ffffff"
SHARES = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
OFF_MAX = 0.6


class Plane:
    """A drawing with axes: `x` and `y` turn values into places."""

    def __init__(self, title: str, x_title: str, y_title: str) -> None:
        self.root = Element(
            "svg",
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "viewBox": f"0 0 {WIDTH} {HEIGHT}",
                "font-family": "sans-serif",
                "font-size": "12",
                "role": "img",
            },
        )
        SubElement(self.root, "title").text = title
        self.add("rect", x="0", y="0", width=str(WIDTH), height=str(HEIGHT), fill=PAPER)
        self.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x_title, anchor="middle")
        middle = (TOP + HEIGHT - BOTTOM) / 2
        label = self.text(16, middle, y_title, anchor="middle")
        label.set("transform", f"rotate(-90 16 {middle:.1f})")

    def add(self, tag: str, **attributes: str) -> Element:
        named = {name.replace("_", "-"): value for name, value in attributes.items()}
        return SubElement(self.root, tag, named)

    def text(self, x: float, y: float, text: str, anchor: str = "start") -> Element:
        element = self.add("text", x=f"{x:.1f}", y=f"{y:.1f}", fill=INK, text_anchor=anchor)
        element.text = text
        return element

    def line(
        self, start: tuple[float, float], end: tuple[float, float], colour: str, dash: str = "none"
    ) -> None:
        self.add(
            "line", x1=f"{start[0]:.1f}", y1=f"{start[1]:.1f}", x2=f"{end[0]:.1f}",
            y2=f"{end[1]:.1f}", stroke=colour, stroke_dasharray=dash,
        )  # fmt: skip

    def legend(self, entries: Sequence[tuple[str, str]]) -> None:
        for row, (name, colour) in enumerate(entries):
            y = TOP + 14 + 18 * row
            self.add("circle", cx=str(WIDTH - RIGHT + 16), cy=f"{y - 4}", r="4", fill=colour)
            self.text(WIDTH - RIGHT + 26, y, name)

    def svg(self) -> bytes:
        indent(self.root)
        drawn: bytes = tostring(self.root, encoding="utf-8")
        return drawn + b"\n"


def across(value: float, low: float, high: float) -> float:
    return LEFT + (value - low) / (high - low) * (WIDTH - RIGHT - LEFT)


def upward(value: float, low: float, high: float) -> float:
    return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - BOTTOM - TOP)


def scatter(scored: Sequence[Scored]) -> bytes:
    """Predicted over measured time per image, both logarithmic, a colour for each device."""
    times = [one for one in scored if one.observation.quantity == TIME]
    measured = [one.observation.logarithm / np.log(10) + 3 for one in times]
    predicted = [value - one.error / np.log(10) for value, one in zip(measured, times, strict=True)]
    low, high = floor(min(measured + predicted)), floor(max(measured + predicted)) + 1
    plane = Plane(
        "Predicted over measured time per image, configuration left out",
        "measured, ms an image",
        "predicted without it, ms an image",
    )
    for power in range(low, high + 1):
        x, y = across(power, low, high), upward(power, low, high)
        plane.line((x, TOP), (x, HEIGHT - BOTTOM), GRID)
        plane.line((LEFT, y), (WIDTH - RIGHT, y), GRID)
        plane.text(x, HEIGHT - BOTTOM + 18, f"{10.0**power:g}", anchor="middle")
        plane.text(LEFT - 8, y + 4, f"{10.0**power:g}", anchor="end")
    for factor in (0.8, 1.0, 1.25):
        shift = log10(factor)
        ends = [
            (across(at, low, high), upward(at + shift, low, high)) for at in (low + 0.1, high - 0.1)
        ]
        plane.line(ends[0], ends[1], INK, "none" if factor == 1 else "4 3")
    devices = sorted({one.observation.case.device for one in times})
    colours = dict(zip(devices, COLOURS, strict=False))
    for x, y, one in zip(measured, predicted, times, strict=True):
        plane.add(
            "circle", cx=f"{across(x, low, high):.1f}", cy=f"{upward(y, low, high):.1f}", r="3",
            fill=colours[one.observation.case.device], fill_opacity="0.6",
        )  # fmt: skip
    plane.legend([(name.partition("(")[0], colour) for name, colour in colours.items()])
    return plane.svg()


def shares(by_name: Mapping[str, Sequence[Scored]]) -> bytes:
    """Share of measurements predicted within an error, a line for each way of leaving out."""
    plane = Plane("Share of measurements within an error", "error of the prediction, %", "share, %")
    for off in range(0, int(OFF_MAX * 100) + 1, 10):
        x = across(off / 100, 0, OFF_MAX)
        plane.line((x, TOP), (x, HEIGHT - BOTTOM), GRID)
        plane.text(x, HEIGHT - BOTTOM + 18, str(off), anchor="middle")
    for share in SHARES:
        y = upward(share, 0, 1)
        plane.line((LEFT, y), (WIDTH - RIGHT, y), GRID)
        plane.text(LEFT - 8, y + 4, f"{share * 100:.0f}", anchor="end")
    for colour, scored in zip(COLOURS, by_name.values(), strict=False):
        plane.add("path", d=_steps(scored), fill="none", stroke=colour, stroke_width="2")
    plane.legend(list(zip(by_name, COLOURS, strict=False)))
    return plane.svg()


def _steps(scored: Sequence[Scored]) -> str:
    off = sorted(one.off for one in scored if one.observation.quantity == TIME)
    points = [(0.0, 0.0)]
    points += [(value, (rank + 1) / len(off)) for rank, value in enumerate(off)]
    places = [
        f"{across(x, 0, OFF_MAX):.1f} {upward(y, 0, 1):.1f}" for x, y in points if x <= OFF_MAX
    ]
    return "M" + " L".join(places)
