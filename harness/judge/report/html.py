"""The HTML report: one self-contained file, light and dark, no script, no request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.judge.report.display import snapshots
from harness.judge.report.render import environment
from harness.judge.report.timeline import timeline
from harness.judge.report.view import view

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.judge.judgement import Judgement
    from harness.record.history import History


def render_html(
    history: History, plan: Mapping[str, Any], judgement: Judgement, display: Path
) -> str:
    """`display` is where the run's snapshots are, if it has any."""
    template = environment(escape=True).get_template("report.html.j2")
    return template.render(
        view=view(history, plan, judgement),
        timeline=timeline(history, plan),
        snapshots=snapshots(history, display),
    )
