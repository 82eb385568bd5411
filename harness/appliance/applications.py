"""Applications on the appliance: install by hash, start, restart after a crash, remove.

What shall run comes as the desired state of the `applications` shadow; what is installed is in
the journal, so after any power cut the box knows what to start without asking anyone. Assets
lie on the data partition behind the journal, each at the place its hash is listed for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.appliance import topic, transfer
from harness.appliance.agent import backoff
from harness.appliance.demand import Demand
from harness.appliance.effect import (
    Digest,
    MessageArrived,
    NodeEnded,
    Note,
    Now,
    PauseCameras,
    Post,
    Program,
    Read,
    Receive,
    Sleep,
    Spawn,
    StartNode,
    StopNode,
    Sync,
    Write,
)
from harness.appliance.firmware import Mailbox, Online
from harness.appliance.image import version_key
from harness.appliance.journal import HALF_BYTES
from harness.appliance.storage import DATA
from harness.errors import CapabilityMissing, Corrupt, PeerError, StorageFull

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harness.appliance.firmware import Firmware

ASSETS_AT = 2 * HALF_BYTES
_ALIGN = 4096
RESTARTS_BEFORE_ERROR = 3
SIGNALS = "5.0.7"  # brought pausing and resuming of cameras


@dataclass(frozen=True, slots=True)
class _StartAgain:
    instance: str


@dataclass(frozen=True, slots=True)
class _Asset:
    """A file that an application needs, as its deployment document lists it."""

    name: str
    sha256: str
    size_bytes: int
    url: str


@dataclass(slots=True)
class _Shelf:
    """The supervisor's memory: what was last reported, and how often each instance crashed."""

    reported: dict[str, dict[str, Any]] = field(default_factory=dict)
    crashes: dict[str, int] = field(default_factory=dict)


def supervise(firmware: Firmware) -> Program[None]:
    """Start what is installed, then follow the shadow and the nodes for ever."""
    shelf = _Shelf()
    for instance in sorted(_installed(firmware).keys() - firmware.running):
        yield from _start(firmware, shelf, instance)
    while True:
        message = yield Receive()
        if isinstance(message, Online):
            yield from _report_all(firmware, shelf)
        elif isinstance(message, MessageArrived):
            yield from _reconcile(firmware, shelf, message)
        elif isinstance(message, NodeEnded):
            yield from _ended(firmware, shelf, message)
        elif isinstance(message, _StartAgain) and _stands_still(firmware, message.instance):
            yield from _start(firmware, shelf, message.instance)


def _installed(firmware: Firmware) -> dict[str, Any]:
    installed: dict[str, Any] = firmware.journal.values.get("applications", {})
    return installed


def runnable(firmware: Firmware) -> set[str]:
    """The installed applications that this release can run."""
    version = firmware.manifest.version
    return {
        instance
        for instance, entry in _installed(firmware).items()
        if not Demand.read(entry).unmet(version, {})
    }


def _stands_still(firmware: Firmware, instance: str) -> bool:
    """Since it crashed it may have been removed, and even deployed again."""
    return instance in _installed(firmware) and instance not in firmware.running


def _reconcile(firmware: Firmware, shelf: _Shelf, message: MessageArrived) -> Program[None]:
    state = message.payload.get("state", {})
    desired = state.get("desired", state) if message.topic.endswith(topic.ACCEPTED) else state
    instances = desired.get("instances", {})
    leaving = {name for name, wanted in instances.items() if wanted["state"] == "REMOVED"}
    for instance, wanted in sorted(instances.items()):
        present = instance in _installed(firmware)
        if wanted["state"] == "RUNNING" and not present:
            yield from _install(firmware, shelf, instance, wanted, leaving)
        elif wanted["state"] == "RUNNING":
            yield from _signal(firmware, shelf, instance, wanted.get("paused", []))
        elif wanted["state"] == "REMOVED" and present:
            yield from _remove(firmware, shelf, instance)
        elif wanted["state"] == "REMOVED":
            yield from _report_gone(firmware, shelf, instance)


def _install(
    firmware: Firmware,
    shelf: _Shelf,
    instance: str,
    wanted: Mapping[str, Any],
    leaving: set[str],
) -> Program[None]:
    """`leaving` are those that are about to go: what they demand does not count any more."""
    began_s = yield Now()
    yield from _report(firmware, shelf, instance, "INSTALL_IN_PROGRESS", "")
    try:
        size = yield from _bring(firmware, instance, wanted, leaving)
    except (PeerError, StorageFull, CapabilityMissing) as problem:
        yield Note("app.install-failed", {"instance": instance, "reason": str(problem)})
        yield from _report(firmware, shelf, instance, "INSTALL_ERROR", str(problem))
        return
    duration_s = round((yield Now()) - began_s, 6)
    values = {"instance": instance, "bytes": size, "duration_s": duration_s}
    ports = list(Demand.read(_installed(firmware)[instance]).ports)
    yield Note("app.installed", {**values, "ports": ports} if ports else values)
    yield from _report(firmware, shelf, instance, "STARTING", "")
    yield from _start(firmware, shelf, instance)


def _bring(
    firmware: Firmware, instance: str, wanted: Mapping[str, Any], leaving: set[str]
) -> Program[int]:
    """Fetch the document and every asset it lists, verify, and record them in one step."""
    places = dict(firmware.journal.values.get("assets", {}))
    text = yield from _bring_document(firmware, instance, wanted, places)
    document = _parse_document(text)
    demand = Demand.read(document)
    yield from _refuse_unmet(firmware, demand, leaving)
    total = len(text)
    needed = [wanted["sha256"]]
    for asset in _assets(document):
        needed.append(asset.sha256)
        if asset.sha256 in places:
            continue
        size = asset.size_bytes
        offset = _allocate(places, asset.sha256, size, firmware.data_bytes)
        yield from transfer.download(asset.url, DATA, offset, size)
        if (yield Digest(DATA, offset, size)) != asset.sha256:
            raise Corrupt(f"asset {asset.name}: hash is not {asset.sha256[:12]}…")
        total += size
    entry = {"document": wanted["sha256"], "uses": needed, "demands": demand.to_json()}
    cameras = _signalled(entry, wanted.get("paused", []))
    if cameras:
        entry["cameras"] = cameras
    installed = {**_installed(firmware), instance: entry}
    yield from firmware.journal.put({"assets": places, "applications": installed})
    return total


def _signalled(entry: Mapping[str, Any], paused: Iterable[str]) -> dict[str, str]:
    """Status of every camera node that was ever paused, now that those in `paused` are."""
    names = sorted({*entry.get("cameras", {}), *paused})
    return {name: "PAUSED" if name in paused else "RUNNING" for name in names}


def _signal(
    firmware: Firmware, shelf: _Shelf, instance: str, paused: Iterable[str]
) -> Program[None]:
    """Pause and resume camera nodes; kept, so that a reboot changes nothing of it."""
    entry = _installed(firmware)[instance]
    cameras = _signalled(entry, paused)
    if cameras == entry.get("cameras", {}):
        return
    installed = {**_installed(firmware), instance: {**entry, "cameras": cameras}}
    yield from firmware.journal.put({"applications": installed})
    nodes = _paused(firmware, instance)
    yield PauseCameras(instance, nodes)
    yield Note("node.signalled", {"instance": instance, "paused": list(nodes)})
    told = shelf.reported.get(instance, {})
    usual = "RUNNING" if instance in firmware.running else "STARTING"
    status, reason = told.get("status", usual), told.get("reason", "")
    yield from _report(firmware, shelf, instance, status, reason)


def _paused(firmware: Firmware, instance: str) -> tuple[str, ...]:
    """The camera nodes that must not deliver: none on a release that knows no signals."""
    if version_key(firmware.manifest.version) < version_key(SIGNALS):
        return ()
    cameras = _installed(firmware).get(instance, {}).get("cameras", {})
    return tuple(name for name, status in cameras.items() if status == "PAUSED")


def unmet(firmware: Firmware, demand: Demand, others: Mapping[str, Demand]) -> Program[str]:
    """Why an application cannot run on this release beside `others`; empty: it can."""
    yield from ()
    return demand.unmet(firmware.manifest.version, others)


def _refuse_unmet(firmware: Firmware, demand: Demand, leaving: set[str]) -> Program[None]:
    """Raise `CapabilityMissing` when it cannot run here, beside those that stay."""
    staying = {
        name: Demand.read(entry)
        for name, entry in sorted(_installed(firmware).items())
        if name not in leaving
    }
    reason = yield from firmware.steps.unmet(firmware, demand, staying)
    if reason:
        raise CapabilityMissing(reason, hint="deploy it where its demands are met")


def _bring_document(
    firmware: Firmware, instance: str, wanted: Mapping[str, Any], places: dict[str, list[int]]
) -> Program[bytes]:
    """The document's text, put into its place. One that others use already is left untouched."""
    sha256 = wanted["sha256"]
    if sha256 in places:
        return bytes((yield Read(DATA, *places[sha256])))
    text: bytes = yield from transfer.get(wanted["url"])
    _parse_document(text)
    offset = _allocate(places, sha256, len(text), firmware.data_bytes)
    yield Write(DATA, offset, text)
    yield Sync(DATA)
    if (yield Digest(DATA, offset, len(text))) != sha256:
        raise Corrupt(f"deployment document of {instance}: hash does not match")
    return text


def _remove(firmware: Firmware, shelf: _Shelf, instance: str) -> Program[None]:
    yield from _report(firmware, shelf, instance, "REMOVAL_IN_PROGRESS", "")
    yield StopNode(instance)
    firmware.running.discard(instance)
    shelf.crashes.pop(instance, None)
    yield from firmware.steps.remove(firmware, instance)
    yield Note("app.removed", {"instance": instance})
    yield from _report_gone(firmware, shelf, instance)


def remove(firmware: Firmware, instance: str) -> Program[None]:
    """Forget an application, and every asset that no other one uses."""
    kept = {name: app for name, app in _installed(firmware).items() if name != instance}
    used = {sha256 for app in kept.values() for sha256 in app["uses"]}
    places = firmware.journal.values.get("assets", {})
    places = {sha256: place for sha256, place in places.items() if sha256 in used}
    yield from firmware.journal.put({"assets": places, "applications": kept})


def _start(firmware: Firmware, shelf: _Shelf, instance: str) -> Program[None]:
    places = firmware.journal.values["assets"]
    entry = _installed(firmware).get(instance)
    if entry is None or (yield from _rotten(firmware, instance, entry["uses"])):
        return
    offset, size = places[entry["document"]]
    text = yield Read(DATA, offset, size)
    assets = {sha256: (DATA, *places[sha256]) for sha256 in entry["uses"]}
    why = yield from firmware.steps.unmet(firmware, Demand.read(entry), {})
    if why:  # since it was installed, the firmware has changed: trying again helps nobody
        yield Note("node.ended", {"instance": instance, "code": 1, "reason": why})
        yield from _report(firmware, shelf, instance, "LAUNCH_ERROR", why)
        return
    try:
        document, paused = _parse_document(text), _paused(firmware, instance)
        yield StartNode(instance, document, assets, Mailbox.APPLICATIONS, paused)
    except PeerError as problem:
        yield from _ended(firmware, shelf, NodeEnded(instance, 1, str(problem)))
        return
    firmware.running.add(instance)
    attempt = shelf.crashes.get(instance, 0) + 1
    yield Note("node.started", {"instance": instance, "attempt": attempt})
    yield from _report(firmware, shelf, instance, "RUNNING", "")


def _rotten(firmware: Firmware, instance: str, uses: Iterable[str]) -> Program[bool]:
    """Whether a file is not what its hash says; whoever uses it is then brought anew."""
    places = firmware.journal.values["assets"]
    rotten = set()
    for sha256 in uses:
        if (yield Digest(DATA, *places[sha256])) != sha256:
            rotten.add(sha256)
    if not rotten:
        return False
    found = ", ".join(f"{sha256[:12]}…" for sha256 in sorted(rotten))
    yield Note("app.damaged", {"instance": instance, "assets": found})
    installed = _installed(firmware)
    hit = [name for name, entry in installed.items() if rotten & set(entry["uses"])]
    for name in hit:
        if name in firmware.running:
            yield StopNode(name)
            firmware.running.discard(name)
    kept = {name: entry for name, entry in installed.items() if name not in hit}
    left = {sha256: place for sha256, place in places.items() if sha256 not in rotten}
    yield from firmware.journal.put({"assets": left, "applications": kept})
    if firmware.online:
        yield from transfer.publish(topic.shadow_get(firmware.thing, "applications"), {})
    return True


def _ended(firmware: Firmware, shelf: _Shelf, ended: NodeEnded) -> Program[None]:
    """A node that ends is an application error; it is started again, later every time."""
    instance = ended.instance
    if instance not in _installed(firmware):
        return
    firmware.running.discard(instance)
    crashes = shelf.crashes[instance] = shelf.crashes.get(instance, 0) + 1
    values = {"instance": instance, "code": ended.code, "reason": ended.reason}
    yield Note("node.ended", values)
    status = "LAUNCH_ERROR" if crashes >= RESTARTS_BEFORE_ERROR else "STARTING"
    yield from _report(firmware, shelf, instance, status, ended.reason)
    delay_s = yield from backoff(crashes)
    yield Spawn(f"restart:{instance}", _start_later(instance, delay_s))


def _start_later(instance: str, delay_s: float) -> Program[None]:
    yield Sleep(delay_s)
    yield Post(Mailbox.APPLICATIONS, _StartAgain(instance))


def _report(
    firmware: Firmware, shelf: _Shelf, instance: str, status: str, reason: str
) -> Program[None]:
    shelf.reported[instance] = {"status": status, "reason": reason, **_nodes(firmware, instance)}
    if firmware.online:
        yield from _send(firmware, {instance: shelf.reported[instance]})


def _nodes(firmware: Firmware, instance: str) -> dict[str, Any]:
    """What is reported of single nodes: cameras that were signalled, and nothing without one."""
    cameras = _installed(firmware).get(instance, {}).get("cameras", {})
    paused = _paused(firmware, instance)
    statuses = {name: "PAUSED" if name in paused else "RUNNING" for name in cameras}
    return {"nodes": statuses} if statuses else {}


def _report_gone(firmware: Firmware, shelf: _Shelf, instance: str) -> Program[None]:
    """A null tells that nothing is left; the control plane asks again if it got lost."""
    shelf.reported.pop(instance, None)
    if firmware.online:
        yield from _send(firmware, {instance: None})


def _report_all(firmware: Firmware, shelf: _Shelf) -> Program[None]:
    """After a reconnect: say where everything stands, and ask what shall be."""
    if shelf.reported:
        yield from _send(firmware, shelf.reported)
    yield from transfer.publish(topic.shadow_get(firmware.thing, "applications"), {})


def _send(firmware: Firmware, instances: Mapping[str, Any]) -> Program[None]:
    payload = {"state": {"reported": {"instances": dict(instances)}}}
    yield from transfer.publish(topic.shadow_update(firmware.thing, "applications"), payload)


def _parse_document(text: bytes) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise Corrupt(f"deployment document: {error}") from None
    if not isinstance(document, dict):
        raise Corrupt("deployment document: not a JSON object")
    return document


def _assets(document: Mapping[str, Any]) -> list[_Asset]:
    try:
        return [
            _Asset(
                f"{package['name']}/{asset['name']}",
                str(asset["sha256"]),
                int(asset["size"]),
                str(asset["url"]),
            )
            for package in document["packages"]
            for asset in package["assets"]
        ]
    except KeyError as error:
        raise Corrupt(f"deployment document: {error} is missing in a package or asset") from None
    except (TypeError, ValueError) as error:
        raise Corrupt(f"deployment document: {error}") from None


def _allocate(places: dict[str, list[int]], sha256: str, size: int, data_bytes: int) -> int:
    """First fit behind the journal; the place is listed in `places`. Raises `StorageFull`."""
    if sha256 in places:
        return places[sha256][0]
    offset = ASSETS_AT
    for start, length in sorted(places.values()):
        if offset + size <= start:
            break
        offset = -(-(start + length) // _ALIGN) * _ALIGN
    if offset + size > data_bytes:
        raise StorageFull(f"no room for {size} bytes on the data partition")
    places[sha256] = [offset, size]
    return offset
