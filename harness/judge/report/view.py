"""What reports show, as plain values, shared by HTML and Markdown."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.judge.check.frames import ACCOUNT_PARTS
from harness.judge.checker import Finding, Verdict
from harness.judge.grade import meaning
from harness.judge.reading import name_of, paced, states
from harness.judge.report.story import read_faults
from harness.judge.report.text import duration, shortened
from harness.judge.sight import by_stream, under_faults
from harness.record import kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harness.judge.judgement import Judgement
    from harness.judge.measure import Measurement
    from harness.judge.report.story import FaultStory
    from harness.judge.sight import Sight
    from harness.record.history import History

EVIDENCE_SHOWN_MAX = 400
VALUES_CHARACTERS_MAX = 180
APPLIANCES_SHOWN_MAX = 200
ACCOUNTS_SHOWN_MAX = 200
SIGHTS_SHOWN_MAX = 200
NOTICED_SHOWN_MAX = 2
SERIES_SHOWN_MAX = 40
_ORDER = {Verdict.FAIL: 0, Verdict.UNKNOWN: 1, Verdict.PASS: 2}
_BULKY = frozenset({"latency_ms", "inference_ms", "sight"})


@dataclass(frozen=True, slots=True)
class Account:
    """The frame account of one stream, summed over all its readers' lives."""

    instance: str
    camera: str
    sent: int
    parts: tuple[int, ...]

    @property
    def sum(self) -> int:
        return sum(self.parts)

    @property
    def agrees(self) -> bool:
        return self.sum == self.sent and min(self.parts) >= 0


@dataclass(frozen=True, slots=True)
class ApplianceFacts:
    """An appliance as it stood at the end of the run."""

    name: str
    state: str
    version: str
    slot: str
    other_slot: str
    fuse_level: str
    boots: int
    leds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SightLine:
    """What an application saw through a camera: over the run, or around one fault.

    `shares` are precision, recall, mAP and continuity, each before, under and after the fault; of
    a run only the first of the three.
    """

    instance: str
    camera: str
    fault: str
    frames: int
    shares: tuple[tuple[str, ...], ...]
    outcome: str
    noticed: str
    unnoticed: bool


@dataclass(frozen=True, slots=True)
class EvidenceLine:
    number: int
    at: str
    source: str
    kind: str
    values: str


@dataclass(frozen=True, slots=True)
class Series:
    """The measurements of one name; those `omitted` are in verdict.json."""

    name: str
    unit: str
    shown: tuple[Measurement, ...]
    omitted: int


@dataclass(frozen=True, slots=True)
class View:
    """Everything a report shows besides the timeline."""

    judgement: Judgement
    description: str
    tally: str
    findings: tuple[Finding, ...]
    grade_meaning: str
    pace: str
    facts: tuple[tuple[str, str], ...]
    accounts: tuple[Account, ...]
    accounts_omitted: int
    faults: tuple[FaultStory, ...]
    sights: tuple[SightLine, ...]
    appliances: tuple[ApplianceFacts, ...]
    measurements: tuple[Series, ...]
    evidence: tuple[EvidenceLine, ...]
    versions: tuple[tuple[str, str], ...]


def view(history: History, plan: Mapping[str, Any], judgement: Judgement) -> View:
    """Gather what the reports show. Plans and histories hold no secrets, and none is added."""
    head = history.head
    accounts = tuple(sorted(_accounts(history), key=lambda one: one.agrees))
    return View(
        judgement=judgement,
        description=str(plan.get("description") or ""),
        tally=_tally(judgement.findings),
        findings=tuple(sorted(judgement.findings, key=lambda one: _ORDER[one.verdict])),
        grade_meaning=meaning(head.grade),
        pace=_pace(history),
        facts=(
            ("engine", head.engine),
            ("seed", str(head.seed)),
            ("started", f"{head.started:%Y-%m-%d %H:%M:%S} UTC"),
            ("duration", duration(judgement.duration_s)),
            ("events", f"{judgement.events:,}".replace(",", "\u2009")),
            ("plan", head.plan[:12]),
        ),
        accounts=accounts[:ACCOUNTS_SHOWN_MAX],
        accounts_omitted=max(0, len(accounts) - ACCOUNTS_SHOWN_MAX),
        faults=tuple(read_faults(history)),
        sights=tuple(_sights(history))[:SIGHTS_SHOWN_MAX],
        appliances=tuple(_appliances(history))[:APPLIANCES_SHOWN_MAX],
        measurements=tuple(_grouped(judgement.measurements)),
        evidence=tuple(_evidence(history, judgement.findings)),
        versions=tuple(sorted(head.versions.items())),
    )


def _pace(history: History) -> str:
    """What a reader of durations must know when modelled time ran faster than the wall's."""
    if history.head.grade == "V":
        return ""
    return " ".join(filter(None, (_scaled(history), _timing(history))))


def _timing(history: History) -> str:
    """Whether calls took as long as on the appliance, or this machine was too slow for that."""
    calls = paced(history)
    said = []
    if any(not one.host_bound for one in calls.values()):
        said.append("Calls of models took as long as is predicted for the appliance.")
    for instance, one in sorted(calls.items()):
        if one.host_bound:
            said.append(
                f"{instance} is host-bound: for {one.late} of its {one.calls} calls this machine"
                " was slower than the appliance, so its times and rates are not claimed."
            )
    return " ".join(said)


def _scaled(history: History) -> str:
    scales = [event.values.get("time_scale", 1.0) for _, event in history.of(kind.RUN_STARTED)]
    if not scales or scales[0] == 1.0:
        return ""
    return (
        f"Modelled durations of the appliance (boot, shutdown, back-off) passed {scales[0]:g} times"
        " as fast as on the device; video, inference, storage and network took their real time."
    )


def _tally(findings: tuple[Finding, ...]) -> str:
    counts = Counter(finding.verdict for finding in findings)
    words = {Verdict.FAIL: "failed", Verdict.UNKNOWN: "unknown", Verdict.PASS: "passed"}
    said = [f"{counts[verdict]} {word}" for verdict, word in words.items() if counts[verdict]]
    return f"{len(findings)} checks: {', '.join(said)}"


def _accounts(history: History) -> Iterable[Account]:
    totals: dict[tuple[str, str], list[int]] = {}
    for _, event in history.of(kind.FRAME_ACCOUNT):
        stream = (str(event.values["instance"]), str(event.values["camera"]))
        row = totals.setdefault(stream, [0] * (1 + len(ACCOUNT_PARTS)))
        for index, part in enumerate(("sent", *ACCOUNT_PARTS)):
            row[index] += event.values[part]
    for (instance, camera), (sent, *parts) in sorted(totals.items()):
        yield Account(instance, camera, sent, tuple(parts))


def _sights(history: History) -> Iterable[SightLine]:
    for (instance, camera), sight in sorted(by_stream(history).items()):
        if sight.frames:
            shares = tuple((one,) for one in _shares(sight))
            whole = "whole run, by label" if sight.by_label else "whole run"
            yield SightLine(instance, camera, whole, sight.frames, shares, "", "", False)
    for one in under_faults(history):
        parts = [_shares(part) for part in (one.before, one.under, one.after)]
        yield SightLine(
            one.instance,
            one.camera,
            f"{one.fault} ({one.fault_kind})",
            one.under.frames,
            tuple(zip(*parts, strict=True)),
            one.outcome,
            _some(one.noticed),
            one.unnoticed,
        )


def _some(words: tuple[str, ...]) -> str:
    more = len(words) - NOTICED_SHOWN_MAX
    shown = "; ".join(words[:NOTICED_SHOWN_MAX])
    return f"{shown}; and {more} more" if more > 0 else shown


def _shares(sight: Sight) -> tuple[str, ...]:
    values = (sight.precision, sight.recall, sight.mean_average_precision, sight.continuity)
    return tuple("—" if value is None else f"{value:.3f}" for value in values)


def _appliances(history: History) -> Iterable[ApplianceFacts]:
    booted: dict[str, Mapping[str, Any]] = {}
    control: dict[str, Mapping[str, Any]] = {}
    leds: dict[str, dict[str, str]] = {}
    boots: Counter[str] = Counter()
    for _, event in history.of(kind.BOOTED, kind.SLOTS, kind.LED):
        name = name_of(event.source)
        if event.kind == kind.BOOTED:
            booted[name], boots[name] = event.values, boots[name] + 1
        elif event.kind == kind.SLOTS:
            control[name] = event.values
        else:
            values = event.values
            leds.setdefault(name, {})[str(values["led"])] = (
                f"{values['colour']} {values['pattern']}"
            )
    for name, passed in states(history).items():
        boot, slots = booted.get(name, {}), control.get(name, {})
        yield ApplianceFacts(
            name=name,
            state=passed[-1][2],
            version=str(boot.get("version", "—")),
            slot=str(boot.get("slot", "—")),
            other_slot=_other_slot(boot, slots),
            fuse_level=str(slots.get("fuse_level", "—")),
            boots=boots[name],
            leds=tuple(f"{led} {look}" for led, look in sorted(leds.get(name, {}).items())),
        )


def _other_slot(boot: Mapping[str, Any], control: Mapping[str, Any]) -> str:
    said = []
    for slot, state in sorted(control.get("slots", {}).items()):
        if slot != boot.get("slot"):
            said.append(f"{slot} {'bootable' if state.get('bootable') else 'closed'}")
    return ", ".join(said) or "—"


def _grouped(measurements: tuple[Measurement, ...]) -> Iterable[Series]:
    """Measurements of the same name together; the frame totals have a table of their own."""
    groups: dict[str, list[Measurement]] = {}
    for one in measurements:
        if not one.name.endswith("_total"):
            groups.setdefault(one.name, []).append(one)
    for name, series in groups.items():
        shown = tuple(series[:SERIES_SHOWN_MAX])
        yield Series(name, series[0].unit, shown, len(series) - len(shown))


def _evidence(history: History, findings: tuple[Finding, ...]) -> Iterable[EvidenceLine]:
    """The events that findings name: those of failures and doubts first, if there are too many."""
    wanted: dict[int, None] = {}
    for finding in sorted(findings, key=lambda one: one.verdict is Verdict.PASS):
        wanted.update(dict.fromkeys(finding.evidence))
    for number in sorted(list(wanted)[:EVIDENCE_SHOWN_MAX]):
        event = history.events[number - 1]
        said = ", ".join(
            f"{key} {_value(value)}" for key, value in event.values.items() if key not in _BULKY
        )
        yield EvidenceLine(
            number,
            f"{event.t_s:.3f}",
            event.source,
            event.kind,
            shortened(said, VALUES_CHARACTERS_MAX),
        )


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{key} {_value(item)}" for key, item in value.items()) + ")"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)
