"""Device shadows as AWS IoT serves them to devices: classic and named, get, update and delete.

Requests come on reserved topics and are answered on `/accepted` or `/rejected`; an update that
was accepted is followed by `/documents`, and by `/delta` when what it touched is desired
otherwise than reported. Texts and codes of refusals are those of the IoT developer guide (2024).
What the service itself keeps in a shadow (`applications`, `device`) a device may report on, not
desire or delete.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.appliance.topic import ACCEPTED, REJECTED, shadow_topic
from harness.cloud.service.state import Shadow

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.cloud.service.core import Core
    from harness.cloud.service.state import Device

DEPTH_MAX = 8  # levels of a state document
SHADOWS_MAX = 25  # of one thing; ours
TOKEN_BYTES_MAX = 64
VERBS = ("get", "update", "delete")
OWNED = ("applications", "device")  # the service's own

_NAME = re.compile(r"[$a-zA-Z0-9:_-]{1,64}")
_SECTIONS = ("desired", "reported")

Section = Mapping[str, Any]
Hook = "Callable[[Device, Section], None]"


class _Refused(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Shadows:
    """`reported` is called with what a device reports of a shadow, before that is kept."""

    def __init__(self, core: Core, reported: Callable[[Device, str, Section], None]) -> None:
        self._core = core
        self._reported = reported

    def request(self, device: Device, name: str, verb: str, payload: Mapping[str, Any]) -> bool:
        """Answer a request; `name` is empty for the classic shadow. Whether it was accepted."""
        topic = shadow_topic(device.id, name, verb)
        token = payload.get("clientToken")
        try:
            if name and not _NAME.fullmatch(name):
                raise _Refused(400, f"Invalid shadow name: {name[:TOKEN_BYTES_MAX]}")
            if token is not None and not _is_token(token):
                token = None
                raise _Refused(400, "Invalid clientToken")
            if verb == "update":
                self._update(device, name, payload, topic, token)
            else:
                answer = self._get(device, name) if verb == "get" else self._delete(device, name)
                _publish(self._core, device, topic + ACCEPTED, answer, token)
        except _Refused as refused:
            self.reject(device, name, verb, refused.code, str(refused), token)
            return False
        return True

    def reject(
        self,
        device: Device,
        name: str,
        verb: str,
        code: int,
        message: str,
        token: str | None = None,
    ) -> None:
        answer = {"code": code, "message": message}
        _publish(self._core, device, shadow_topic(device.id, name, verb) + REJECTED, answer, token)

    # --- requests -----------------------------------------------------------------------

    def _get(self, device: Device, name: str) -> dict[str, Any]:
        return _whole(_existing(device, name))

    def _delete(self, device: Device, name: str) -> dict[str, Any]:
        shadow = _existing(device, name)
        if name in OWNED:
            raise _Refused(403, "Forbidden")
        # Its version goes on from there, should it be made again.
        device.shadows[name] = Shadow(version=shadow.version, deleted=True)
        return {"version": shadow.version}

    def _update(
        self, device: Device, name: str, payload: Mapping[str, Any], topic: str, token: str | None
    ) -> None:
        state = _state_of(payload)
        if name in OWNED and state.get("desired") is not None:
            raise _Refused(403, "Forbidden")
        if name not in device.shadows and len(device.shadows) >= SHADOWS_MAX:
            raise _Refused(400, f"A thing has at most {SHADOWS_MAX} shadows")
        shadow = device.shadows.get(name) or Shadow()
        wanted = payload.get("version")
        if wanted is not None and wanted != shadow.version:
            raise _Refused(409, "Version conflict")
        before = _document(shadow)
        device.shadows[name] = shadow
        if isinstance(state.get("reported"), Mapping):
            self._reported(device, name, state["reported"])
        now = int(self._core.clock())
        shadow.version += 1
        shadow.deleted = False
        given = {section: state[section] for section in _SECTIONS if section in state}
        metadata = {section: _change(shadow, section, given[section], now) for section in given}
        answer = {"state": given, "metadata": metadata, "version": shadow.version}
        _publish(self._core, device, topic + ACCEPTED, answer, token)
        documents = {"previous": before, "current": _document(shadow)}
        _publish(self._core, device, topic + "/documents", documents, token)
        touched = [section for section in given.values() if isinstance(section, Mapping)]
        differs = _difference(shadow.desired, shadow.reported)
        if any(_touches(section, differs) for section in touched):
            _tell_delta(self._core, device, name, shadow, token)


def told(core: Core, device: Device, name: str) -> None:
    """The service has changed what it desires: say what differs from the reported."""
    shadow = device.shadow(name)
    shadow.version += 1
    shadow.metadata = {**shadow.metadata, "desired": _stamped(shadow.desired, int(core.clock()))}
    if device.connected:
        _tell_delta(core, device, name, shadow, None)


def _tell_delta(core: Core, device: Device, name: str, shadow: Shadow, token: str | None) -> None:
    differs = _difference(shadow.desired, shadow.reported)
    if differs:
        metadata = _picked(shadow.metadata.get("desired", {}), differs)
        delta = {"state": differs, "metadata": metadata, "version": shadow.version}
        _publish(core, device, shadow_topic(device.id, name, "update") + "/delta", delta, token)


def _publish(
    core: Core, device: Device, topic: str, message: Mapping[str, Any], token: str | None
) -> None:
    echoed = {} if token is None else {"clientToken": token}
    core.publish(device.id, topic, {**message, "timestamp": int(core.clock()), **echoed})


def _existing(device: Device, name: str) -> Shadow:
    shadow = device.shadows.get(name)
    if shadow is None or shadow.deleted or not shadow.version:
        which = f"name: '{name}'" if name else "the thing's name"
        raise _Refused(404, f"No shadow exists with {which}")
    return shadow


def _is_token(token: Any) -> bool:
    return isinstance(token, str) and len(token.encode(errors="replace")) <= TOKEN_BYTES_MAX


def _state_of(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """The `state` of an update, checked as the service does. Raises `_Refused`."""
    if "state" not in payload:
        raise _Refused(400, "Missing required node: state")
    state = payload["state"]
    if not isinstance(state, Mapping):
        raise _Refused(400, "State node must be an object")
    for name, section in state.items():
        if name not in _SECTIONS:
            raise _Refused(400, f"State contains an invalid node: '{name[:TOKEN_BYTES_MAX]}'")
        if section is not None and not isinstance(section, Mapping):
            raise _Refused(400, f"{name.capitalize()} node must be an object")
        if _depth(section) > DEPTH_MAX:
            levels = f"JSON contains too many levels of nesting; maximum is {DEPTH_MAX}"
            raise _Refused(400, levels)
    version = payload.get("version")
    if version is not None and type(version) is not int:
        raise _Refused(400, "Invalid version")
    return state


def _depth(value: Any) -> int:
    """Levels of nesting; one that is far too deep is not looked at to its end."""
    deepest, level = 0, [value]
    while level and deepest <= DEPTH_MAX:
        inner: list[Any] = []
        for item in level:
            if isinstance(item, Mapping):
                inner += item.values()
            elif isinstance(item, list):
                inner += item
        nested = any(isinstance(item, (Mapping, list)) for item in level)
        deepest, level = deepest + nested, inner
    return deepest


def _change(shadow: Shadow, section: str, changes: Section | None, now: int) -> Any:
    """Merge `changes` into a section; null clears it. The metadata of what was changed."""
    if changes is None:
        setattr(shadow, section, {})
        shadow.metadata.pop(section, None)
        return None
    old, stamps = getattr(shadow, section), shadow.metadata.get(section, {})
    merged, stamped = _merged(old, stamps, changes, now)
    setattr(shadow, section, merged)
    shadow.metadata = {**shadow.metadata, section: stamped}
    return _picked(stamped, changes)


def _merged(
    state: Section, stamps: Section, changes: Section, now: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Shadow semantics: objects merge, null deletes, anything else replaces.

    New objects every time, because the old ones may be in messages under way.
    """
    merged, stamped = dict(state), dict(stamps)
    for key, value in changes.items():
        if value is None:
            merged.pop(key, None)
            stamped.pop(key, None)
        elif isinstance(value, Mapping):
            known = isinstance(merged.get(key), Mapping)
            inside, times = (merged[key], stamped.get(key, {})) if known else ({}, {})
            merged[key], stamped[key] = _merged(inside, times, value, now)
        else:
            merged[key], stamped[key] = value, _stamped(value, now)
    return merged, stamped


def _stamped(value: Any, now: int) -> Any:
    """The metadata of a value: when each of its attributes was set."""
    if isinstance(value, Mapping):
        return {key: _stamped(item, now) for key, item in value.items()}
    if isinstance(value, list):
        return [_stamped(item, now) for item in value]
    return {"timestamp": now}


def _picked(stamps: Section, attributes: Section) -> dict[str, Any]:
    """The metadata of some attributes."""
    picked = {}
    for key, value in attributes.items():
        if key in stamps:
            nested = isinstance(value, Mapping) and isinstance(stamps[key], Mapping)
            picked[key] = _picked(stamps[key], value) if nested else stamps[key]
    return picked


def _difference(desired: Section, reported: Section) -> dict[str, Any]:
    """What is desired and not reported so."""
    differs: dict[str, Any] = {}
    for key, value in desired.items():
        told = reported.get(key)
        if isinstance(value, Mapping) and isinstance(told, Mapping):
            inner = _difference(value, told)
            if inner:
                differs[key] = inner
        elif key not in reported or not _same(value, told):
            differs[key] = value
    return differs


def _same(one: Any, other: Any) -> bool:
    """JSON knows true from 1, Python does not."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _touches(changes: Section, differs: Section) -> bool:
    for key, value in changes.items():
        if key in differs:
            inner = differs[key]
            if not (isinstance(value, Mapping) and isinstance(inner, Mapping)):
                return True
            if _touches(value, inner):
                return True
    return False


def _document(shadow: Shadow) -> dict[str, Any]:
    sections = {"desired": shadow.desired, "reported": shadow.reported}
    state = {name: section for name, section in sections.items() if section}
    metadata = {name: shadow.metadata[name] for name in state if name in shadow.metadata}
    return {"state": state, "metadata": metadata, "version": shadow.version}


def _whole(shadow: Shadow) -> dict[str, Any]:
    """As `get` answers it: the document, with what differs."""
    document = _document(shadow)
    differs = _difference(shadow.desired, shadow.reported)
    if differs:
        document["state"] = {**document["state"], "delta": differs}
    return document
