"""The Jinja environment of the reports: everything from outside is escaped."""

from __future__ import annotations

from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from harness.judge.report import text


@lru_cache(maxsize=2)
def environment(*, escape: bool) -> Environment:
    """`escape` for HTML; Markdown cells are escaped by the `cell` filter instead."""
    made = Environment(
        loader=PackageLoader("harness.judge.report"),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        number=text.number, duration=text.duration, clock=text.clock, cell=text.cell
    )
    return made
