"""The judge: history to verdict, measurements and report. Works on files alone."""

from __future__ import annotations

from harness.judge.check import CHECKERS
from harness.judge.checker import Checker, Finding, Verdict
from harness.judge.evaluate import evaluate, index_row
from harness.judge.judgement import Judgement, judge
from harness.judge.measure import Measurement, measure

__all__ = [
    "CHECKERS",
    "Checker",
    "Finding",
    "Judgement",
    "Measurement",
    "Verdict",
    "evaluate",
    "index_row",
    "judge",
    "measure",
]
