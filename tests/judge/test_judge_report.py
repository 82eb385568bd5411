"""Reports: well-formed, self-contained, escaped, and saying what the judgement says."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest

from harness.judge import evaluate
from harness.judge.report import text
from harness.judge.report.timeline import APPLIANCES_MAX, BINS_MAX, LEFT, PLOT, binned, timeline
from harness.record import kind
from harness.record.event import Event

if TYPE_CHECKING:
    from pathlib import Path

VOID = {"meta", "br", "hr", "img", "input", "link"}
NASTY = '<script>alert(1)</script> & "quote" | `code` \x07'


class Page(HTMLParser):
    """Reads a page, insists on balanced tags, keeps text, ids and references."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        self.ids += [name for name in [values.get("id")] if name]
        self.links += [link for link in map(values.get, ("href", "src")) if link]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.words.append(data.strip())


def test_the_page_is_balanced_and_asks_for_nothing(site: Any, tmp_path: Path) -> None:
    run = site.run(tmp_path)
    evaluate(run.path)
    page = run.html.read_text()
    read = Page(page)
    assert read.open == []
    assert "script" not in read.tags
    assert "link" not in read.tags
    assert all(link.startswith("#e") for link in read.links)
    assert not re.search(r"https?://|@import|url\((?!#)", page)


def test_every_piece_of_evidence_can_be_looked_up(site: Any, tmp_path: Path) -> None:
    run = site.run(tmp_path)
    judgement = evaluate(run.path)
    read = Page(run.html.read_text())
    named = {f"e{number}" for finding in judgement.findings for number in finding.evidence}
    assert {link[1:] for link in read.links} <= set(read.ids)
    assert named <= set(read.ids)
    assert len(read.ids) == len(set(read.ids))


def test_the_page_says_what_was_judged(site: Any, tmp_path: Path) -> None:
    run = site.run(tmp_path)
    judgement = evaluate(run.path)
    words = Page(run.html.read_text()).words
    for expected in (
        "PASS",
        "two-shops",
        "14 checks: 14 passed",
        judgement.replay,
        "uplink.loss · north",
        "committed 7.0.13",
        "rolled-back 7.0.11",
        "753 ✓",
    ):
        assert expected in words, expected
    assert any("grade L: loopback" in word for word in words)
    for finding in judgement.findings:
        assert finding.message in words


def nasty_events(site: Any) -> list[Event]:
    renamed = {"yard": NASTY, "south": NASTY, "counter-south": NASTY}

    def rename(value: Any) -> Any:
        return renamed.get(value, value) if isinstance(value, str) else value

    return [
        Event(
            e.t_s,
            "/".join(rename(part) for part in e.source.split("/", 1)),
            e.kind,
            {key: rename(value) for key, value in e.values.items()},
        )
        for e in site.events()
    ]


def test_names_from_outside_are_escaped_everywhere(site: Any, tmp_path: Path) -> None:
    run = site.run(tmp_path, nasty_events(site), versions={NASTY: NASTY})
    evaluate(run.path)
    page = run.html.read_text()
    assert "<script" not in page
    assert Page(page).open == []
    assert "&lt;script&gt;" in page
    markdown = run.markdown.read_text()
    assert "<script" not in markdown.replace("\\<script", "")
    ElementTree.fromstring(run.junit.read_text())


def test_markdown_tables_keep_their_shape(site: Any, tmp_path: Path) -> None:
    run = site.run(tmp_path, nasty_events(site))
    evaluate(run.path)
    columns = None
    for line in run.markdown.read_text().splitlines():
        if not line.startswith("|"):
            columns = None
            continue
        count = len(re.findall(r"(?<!\\)\|", line))
        assert columns in (None, count), line
        columns = count
        assert line.count("\n") == 0
    assert "# two-shops: " in run.markdown.read_text()


def test_junit_has_one_case_a_finding(site: Any, tmp_path: Path) -> None:
    events = [
        e for e in site.events()
        if not (e.kind == kind.FAULT_OBSERVED and e.values["fault"] == "camera-1")
        and not (e.kind == kind.FAULT_RECOVERED and e.values["fault"] == "uplink-1")
    ]  # fmt: skip
    run = site.run(tmp_path, events)
    judgement = evaluate(run.path)
    root = ElementTree.fromstring(run.junit.read_text())
    (suite,) = root
    cases = suite.findall("testcase")
    assert len(cases) == len(judgement.findings) == int(suite.attrib["tests"])
    assert [c.attrib["name"] for c in cases if c.find("failure") is not None] == ["recovers"]
    assert [c.attrib["name"] for c in cases if c.find("error") is not None] == ["faults-bite"]
    assert (suite.attrib["failures"], suite.attrib["errors"]) == ("1", "1")
    names = [(c.attrib["classname"], c.attrib["name"]) for c in cases]
    assert len(set(names)) == len(names)
    assert ("two-shops.limit", "frame_latency_ms p99 <= 500") in names
    properties = {p.attrib["name"]: p.attrib["value"] for p in suite.iter("property")}
    assert properties["grade"].startswith("L: loopback")
    assert properties["seed"] == "7"


def test_a_report_of_many_streams_is_bounded_and_shows_what_is_wrong_first(
    site: Any, tmp_path: Path
) -> None:
    account = next(e for e in site.events() if e.kind == kind.FRAME_ACCOUNT)
    events = [
        Event(1.0, account.source, account.kind, {**account.values, "camera": f"c{n:04}"})
        for n in range(1000)
    ]
    events[-1] = Event(
        1.0, account.source, account.kind, {**events[-1].values, "camera": "odd", "sent": 9999}
    )
    durations = [
        Event(2.0, f"appliance/a{n}", kind.PROVISIONED, {"device": "d", "duration_s": 1.0})
        for n in range(1000)
    ]
    run = site.run(tmp_path, [*events, *durations])
    judgement = evaluate(run.path)
    words = Page(run.html.read_text()).words
    assert words.count("counter-north") == 200
    assert "800 more streams are in verdict.json." in words
    assert "9\u2009999" in words
    assert "and 960 more in verdict.json" in words
    assert sum(one.name == "provision_s" for one in judgement.measurements) == 1000


# --- the timeline ----------------------------------------------------------------------------


def test_the_timeline_places_things_in_time(site: Any) -> None:
    made = timeline(site.history(), site.plan())
    assert [group.name for group in made.groups] == ["north", "south"]
    assert [lane.label for lane in made.groups[1].lanes] == ["state", "update", "yard", "ramp"]
    uplink = made.bands[0]
    assert uplink.x == pytest.approx(LEFT + PLOT * 16 / 60, abs=0.02)
    assert uplink.width == pytest.approx(PLOT * 5 / 60, abs=0.02)
    assert uplink.tail == pytest.approx(PLOT * 1.1 / 60, abs=0.02)
    state = made.groups[0].lanes[0]
    offline = next(segment for segment in state.segments if segment.look == "offline")
    assert offline.x == pytest.approx(LEFT + PLOT * 16.4 / 60, abs=0.02)
    assert len(state.marks) == 2
    assert made.ticks[-1].text == "1:00"


def test_everything_lies_inside_the_picture(site: Any) -> None:
    made = timeline(site.history(), site.plan())
    for lane in (lane for group in made.groups for lane in group.lanes):
        assert 0 <= lane.y <= made.bottom - lane.height
        for segment in lane.segments:
            assert made.left <= segment.x <= segment.x + segment.width <= made.right + 0.5


def test_a_fault_that_never_healed_lasts_to_the_end(site: Any) -> None:
    band = timeline(site.without(kind.FAULT_HEALED, fault="uplink-1"), site.plan()).bands[0]
    assert band.x + band.width == pytest.approx(LEFT + PLOT, abs=0.1)
    assert band.tail == 0


def test_overlapping_faults_get_rows_of_their_own(site: Any) -> None:
    story = site.events()
    values = {"fault_kind": "power.cut", "target": "north", "label": "", "parameters": {}}
    story += [
        Event(16.0 + n, "nemesis", kind.FAULT_INJECTED, {**values, "fault": f"p{n}"})
        for n in range(3)
    ]
    bands = timeline(site.history(story), site.plan()).bands
    assert len({band.y for band in bands if band.x < LEFT + PLOT / 3}) == 4


def test_a_large_fleet_is_bounded_and_says_so(site: Any) -> None:
    events = [
        (float(n % 7), f"appliance/a{n}", kind.STATE, {"state": "online"}) for n in range(1000)
    ]
    made = timeline(site.only(*events), site.plan())
    assert len(made.groups) == APPLIANCES_MAX
    assert made.omitted == (f"{1000 - APPLIANCES_MAX} more appliances",)


def test_a_year_of_flapping_is_bounded(site: Any) -> None:
    states = ("online", "offline")
    events = [
        (n * 600.0, "appliance/a", kind.STATE, {"state": states[n % 2]}) for n in range(50_000)
    ]
    made = timeline(site.only(*events), site.plan())
    assert len(made.groups[0].lanes[0].segments) <= PLOT / 0.4 + 1
    assert 2 <= len(made.ticks) <= 10


def test_bins_keep_the_number_of_frames() -> None:
    rates = [(float(s), s + 1.0, 15.0) for s in range(3000)]
    bins = binned(rates, 3000.0)
    assert len(bins) == BINS_MAX
    assert sum(bins) * 3000 / BINS_MAX == pytest.approx(45_000)
    assert binned([(0.5, 1.5, 10.0)], 4.0) == [5.0, 5.0, 0.0, 0.0]


# --- figures ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0"), (12, "12"), (1234567, "1\u2009234\u2009567"), (7.185, "7.185"), (0.99604, "0.996"),
     (66.561, "66.56"), (0.0001234, "0.000123"), (float("inf"), "—"), (-2.5, "-2.5")],
)  # fmt: skip
def test_numbers(value: float, said: str) -> None:
    assert text.number(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.34, "340 ms"), (12.44, "12.4 s"), (59.97, "1 min 00 s"), (185, "3 min 05 s"),
     (7500, "2 h 05 min"), (3600 * 76, "3 d 04 h")],
)  # fmt: skip
def test_durations(value: float, said: str) -> None:
    assert text.duration(value) == said


@pytest.mark.parametrize(
    ("value", "said"), [(45, "45 s"), (125, "2:05"), (12000, "3:20:00"), (187200, "2 d 4 h")]
)
def test_clock(value: float, said: str) -> None:
    assert text.clock(value) == said


def test_a_host_bound_application_is_said_to_be(site: Any, tmp_path: Path) -> None:
    events = [
        replace(event, values={**event.values, "paced": 10, "host_bound": 3})
        if event.kind == kind.FRAMES and event.values["instance"] == "counter-north"
        else event
        for event in site.events()
    ]
    run = site.run(tmp_path, events)
    evaluate(run.path)
    for report in (run.html.read_text(), run.markdown.read_text()):
        assert "counter-north is host-bound: for " in report
        assert "are not claimed" in report
