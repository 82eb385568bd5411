"""How reports write figures: short, with units, the same everywhere."""

from __future__ import annotations

import math


def number(value: float) -> str:
    """Four significant digits at most, thousands set apart by thin spaces, no exponent."""
    if not math.isfinite(value):
        return "—"
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", "\u2009")
    digits = max(0, 3 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 6)}f}".rstrip("0").rstrip(".")


def duration(value_s: float) -> str:
    """`340 ms`, `12.4 s`, `3 min 05 s`, `2 h 05 min`, `3 d 04 h`."""
    if value_s < 1:
        return f"{number(round(value_s * 1000, 1))} ms"
    if value_s < 59.95:
        return f"{value_s:.1f} s"
    whole = round(value_s)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02d} h"


def clock(value_s: float) -> str:
    """A point on the time axis: `45 s`, `2:05`, `3:20:00`, `2 d 4 h`."""
    whole = round(value_s)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    if whole < 86400:
        return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"
    hours = whole % 86400 // 3600
    return f"{whole // 86400} d" + (f" {hours} h" if hours else "")


def shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def cell(value: object) -> str:
    """Text for a cell of a Markdown table: one line, nothing that Markdown or HTML would act on."""
    flat = " ".join(str(value).split())
    for character in "\\`*_{}[]<>|#":
        flat = flat.replace(character, f"\\{character}")
    return flat
