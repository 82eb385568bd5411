"""JUnit XML: one test case a finding, so that any CI server can show a run."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from harness.judge.checker import Verdict
from harness.judge.grade import meaning

if TYPE_CHECKING:
    from harness.judge.judgement import Judgement

# XML 1.0, section 2.2: characters that no escape can carry
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(judgement: Judgement) -> str:
    """FAIL is a failure, UNKNOWN an error (inconclusive): neither lets a pipeline pass."""
    head = judgement.head
    counts = Counter(finding.verdict for finding in judgement.findings)
    totals = {
        "tests": str(len(judgement.findings)),
        "failures": str(counts[Verdict.FAIL]),
        "errors": str(counts[Verdict.UNKNOWN]),
    }
    root = ElementTree.Element("testsuites", totals)
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        {
            "name": _clean(head.scenario),
            **totals,
            "time": f"{judgement.duration_s:.3f}",
            "timestamp": f"{head.started:%Y-%m-%dT%H:%M:%S}",
        },
    )
    _add_properties(suite, judgement)
    for finding in judgement.findings:
        is_limit = finding.checker.startswith("limit:")
        case = ElementTree.SubElement(
            suite,
            "testcase",
            {
                "classname": _clean(f"{head.scenario}.{'limit' if is_limit else 'check'}"),
                "name": _clean(finding.demand if is_limit else finding.checker),
            },
        )
        evidence = ", ".join(map(str, finding.evidence)) or "none"
        detail = _clean(f"{finding.message}\ndemand: {finding.demand}\nevents: {evidence}")
        if finding.verdict is Verdict.PASS:
            ElementTree.SubElement(case, "system-out").text = detail
        else:
            tag = "failure" if finding.verdict is Verdict.FAIL else "error"
            problem = ElementTree.SubElement(
                case, tag, {"type": finding.verdict.value, "message": _clean(finding.message)}
            )
            problem.text = detail
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode", xml_declaration=False)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _add_properties(suite: ElementTree.Element, judgement: Judgement) -> None:
    head = judgement.head
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in (
        ("verdict", judgement.verdict.value),
        ("grade", f"{head.grade}: {meaning(head.grade)}"),
        ("engine", head.engine),
        ("seed", str(head.seed)),
        ("plan", head.plan),
        ("replay", judgement.replay),
        *((f"version.{part}", version) for part, version in sorted(head.versions.items())),
    ):
        said = {"name": _clean(name), "value": _clean(value)}
        ElementTree.SubElement(properties, "property", said)


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
