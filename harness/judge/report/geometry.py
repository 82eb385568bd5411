"""The shapes of a timeline, in the units of the SVG's view box."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Segment:
    """A bar: `look` names its style, `text` is written in it when it fits, `title` is its tip."""

    x: float
    width: float
    look: str
    text: str
    title: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A boot: a small triangle, with the version that booted."""

    x: float
    title: str


@dataclass(frozen=True, slots=True)
class Lane:
    """One row. `role` is state, ota or stream."""

    role: str
    label: str
    y: float
    height: float
    sublabel: str = ""
    segments: tuple[Segment, ...] = ()
    marks: tuple[Mark, ...] = ()
    area: str = ""
    line: str = ""
    nominal_y: float | None = None
    note: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """An appliance with its lanes."""

    name: str
    y: float
    lanes: tuple[Lane, ...]


@dataclass(frozen=True, slots=True)
class Band:
    """A fault: `x..x+width` while it acts, `tail` more until the site has recovered."""

    x: float
    width: float
    tail: float
    y: float
    label: str
    label_x: float
    anchor: str
    title: str


@dataclass(frozen=True, slots=True)
class Tick:
    x: float
    text: str


@dataclass(frozen=True, slots=True)
class Timeline:
    width: float
    height: float
    top: float
    bottom: float
    left: float
    right: float
    phases: tuple[Segment, ...]
    bands: tuple[Band, ...]
    groups: tuple[Group, ...]
    ticks: tuple[Tick, ...]
    omitted: tuple[str, ...]
    looks: tuple[str, ...]
    has_ota: bool
