"""The Markdown report: the same facts for pull requests and terminals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.judge.report.render import environment
from harness.judge.report.view import view

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.judge.judgement import Judgement
    from harness.record.history import History


def render_markdown(history: History, plan: Mapping[str, Any], judgement: Judgement) -> str:
    template = environment(escape=False).get_template("report.md.j2")
    return template.render(view=view(history, plan, judgement))
