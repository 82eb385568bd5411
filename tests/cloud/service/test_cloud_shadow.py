"""Shadows in the pure plane: documents, metadata, deltas, versions, and every refusal."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.appliance.topic import shadow_topic
from harness.cloud.service.shadow import DEPTH_MAX, SHADOWS_MAX, _difference, _merged

NOW = 1_700_000_000
AT = {"timestamp": NOW}
NAMES = ["", "mode"]  # the classic shadow, and a named one


@pytest.fixture
def device(core: Any) -> str:
    return str(core.online())


def ask(core: Any, device: str, name: str, verb: str, **payload: Any) -> dict[str, Any]:
    """Every message that a request led to, by the end of its topic."""
    core.sent.clear()
    topic = shadow_topic(device, name, verb)
    core.plane.receive(device, topic, payload)
    assert all(client == device for client, _, _ in core.sent)
    return {sent.removeprefix(topic + "/"): answer for _, sent, answer in core.sent}


def desire(core: Any, device: str, name: str, **desired: Any) -> dict[str, Any]:
    return ask(core, device, name, "update", state={"desired": desired})


def report(core: Any, device: str, name: str, **reported: Any) -> dict[str, Any]:
    return ask(core, device, name, "update", state={"reported": reported})


@pytest.mark.parametrize("name", NAMES)
def test_an_update_is_answered_documented_and_compared(core: Any, device: str, name: str) -> None:
    told = ask(
        core, device, name, "update", clientToken="t-1",
        state={"desired": {"light": "on", "level": 3}, "reported": {"light": "off"}},
    )  # fmt: skip
    state = {"desired": {"light": "on", "level": 3}, "reported": {"light": "off"}}
    metadata = {"desired": {"light": AT, "level": AT}, "reported": {"light": AT}}
    tail = {"timestamp": NOW, "clientToken": "t-1"}
    assert told == {
        "accepted": {"state": state, "metadata": metadata, "version": 1, **tail},
        "documents": {
            "previous": {"state": {}, "metadata": {}, "version": 0},
            "current": {"state": state, "metadata": metadata, "version": 1},
            **tail,
        },
        "delta": {
            "state": {"light": "on", "level": 3},
            "metadata": {"light": AT, "level": AT},
            "version": 1,
            **tail,
        },
    }
    got = ask(core, device, name, "get", clientToken="t-2")
    whole = {**state, "delta": {"light": "on", "level": 3}}
    assert got == {
        "accepted": {
            "state": whole, "metadata": metadata, "version": 1,
            "timestamp": NOW, "clientToken": "t-2",
        }
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_what_is_reported_as_desired_leaves_no_delta(core: Any, device: str, name: str) -> None:
    desire(core, device, name, light="on", deep={"a": 1, "b": 2})
    told = report(core, device, name, light="on", deep={"a": 1, "b": 9})
    assert told["delta"]["state"] == {"deep": {"b": 2}}
    told = report(core, device, name, deep={"b": 2})
    assert set(told) == {"accepted", "documents"}
    assert "delta" not in ask(core, device, name, "get")["accepted"]["state"]


def test_a_delta_comes_of_what_an_update_touches(core: Any, device: str) -> None:
    desire(core, device, "mode", light="on")
    assert "delta" not in report(core, device, "mode", temperature=21), "it says nothing of light"
    assert report(core, device, "mode", light="off")["delta"]["state"] == {"light": "on"}


def test_metadata_tells_when_each_attribute_was_set(core: Any, device: str) -> None:
    report(core, device, "mode", old=1, list=["a", {"b": 2}], deep={"x": 1, "y": 1})
    core.now_s += 60.0
    told = report(core, device, "mode", deep={"y": 2})
    later = {"timestamp": NOW + 60}
    assert told["accepted"]["metadata"] == {"reported": {"deep": {"y": later}}}
    whole = ask(core, device, "mode", "get")["accepted"]["metadata"]["reported"]
    assert whole == {"old": AT, "list": [AT, {"b": AT}], "deep": {"x": AT, "y": later}}


def test_null_removes_an_attribute_or_a_section(core: Any, device: str) -> None:
    report(core, device, "mode", keep=1, gone=2, deep={"gone": 3})
    report(core, device, "mode", gone=None, deep={"gone": None})
    got = ask(core, device, "mode", "get")["accepted"]
    assert got["state"] == {"reported": {"keep": 1, "deep": {}}}
    assert got["metadata"] == {"reported": {"keep": AT, "deep": {}}}
    ask(core, device, "mode", "update", state={"reported": None, "desired": {"a": 1}})
    got = ask(core, device, "mode", "get")["accepted"]
    assert got["state"] == {"desired": {"a": 1}, "delta": {"a": 1}}


def test_true_is_not_one(core: Any, device: str) -> None:
    desire(core, device, "mode", light=True)
    assert report(core, device, "mode", light=1)["delta"]["state"] == {"light": True}


@pytest.mark.parametrize("name", NAMES)
def test_versions_are_held_against_the_one_there_is(core: Any, device: str, name: str) -> None:
    state = {"reported": {"a": 1}}
    assert "accepted" in ask(core, device, name, "update", state=state, version=0)
    assert "accepted" in ask(core, device, name, "update", state=state, version=1)
    told = ask(core, device, name, "update", state={"reported": {"a": 9}}, version=1)
    assert told == {"rejected": {"code": 409, "message": "Version conflict", "timestamp": NOW}}
    got = ask(core, device, name, "get")["accepted"]
    assert (got["version"], got["state"]) == (2, state)


@pytest.mark.parametrize("name", NAMES)
def test_a_deleted_shadow_is_gone_and_its_version_goes_on(
    core: Any, device: str, name: str
) -> None:
    report(core, device, name, a=1)
    told = ask(core, device, name, "delete", clientToken="bye")
    assert told == {"accepted": {"version": 1, "timestamp": NOW, "clientToken": "bye"}}
    for verb in ("get", "delete"):
        refused = ask(core, device, name, verb)["rejected"]
        assert refused["code"] == 404
        assert refused["message"].startswith("No shadow exists with")
    made = report(core, device, name, b=2)["accepted"]
    assert made["version"] == 2
    assert ask(core, device, name, "get")["accepted"]["state"] == {"reported": {"b": 2}}


def test_shadows_of_one_thing_are_apart(core: Any, device: str) -> None:
    report(core, device, "", a=1)
    report(core, device, "mode", a=2)
    other = core.online("south")
    assert ask(core, other, "mode", "get")["rejected"]["code"] == 404
    assert ask(core, device, "", "get")["accepted"]["state"] == {"reported": {"a": 1}}
    assert ask(core, device, "mode", "get")["accepted"]["state"] == {"reported": {"a": 2}}


def deep(levels: int) -> Any:
    return {"x": deep(levels - 1)} if levels > 1 else {"x": 1}


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({}, "Missing required node: state"),
        ({"state": None}, "State node must be an object"),
        ({"state": [1]}, "State node must be an object"),
        ({"state": {"desired": "on"}}, "Desired node must be an object"),
        ({"state": {"reported": 1}}, "Reported node must be an object"),
        ({"state": {"wanted": {}}}, "State contains an invalid node: 'wanted'"),
        ({"state": {"reported": {"a": 1}}, "version": "1"}, "Invalid version"),
        ({"state": {"reported": {"a": 1}}, "clientToken": "x" * 65}, "Invalid clientToken"),
        ({"state": {"reported": {"a": 1}}, "clientToken": 5}, "Invalid clientToken"),
        (
            {"state": {"reported": deep(DEPTH_MAX + 1)}},
            f"JSON contains too many levels of nesting; maximum is {DEPTH_MAX}",
        ),
    ],
)
def test_a_bad_update_is_refused_in_the_services_words(
    core: Any, device: str, payload: Any, message: str
) -> None:
    report(core, device, "mode", a=0)
    told = ask(core, device, "mode", "update", **payload)
    assert told == {"rejected": {"code": 400, "message": message, "timestamp": NOW}}
    got = ask(core, device, "mode", "get")["accepted"]
    assert (got["version"], got["state"]) == (1, {"reported": {"a": 0}})


def test_as_many_levels_as_are_allowed_are_taken(core: Any, device: str) -> None:
    assert "accepted" in report(core, device, "mode", **deep(DEPTH_MAX))


@pytest.mark.parametrize("name", ["", "mode", "applications"])
@pytest.mark.parametrize("verb", ["get", "update", "delete"])
def test_what_is_no_json_object_is_refused(core: Any, device: str, name: str, verb: str) -> None:
    topic = shadow_topic(device, name, verb)
    core.plane.garbled(device, topic)
    assert core.answer(topic + "/rejected") == {
        "code": 400, "message": "Invalid JSON", "timestamp": NOW,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["applications", "device"])
def test_the_services_own_shadows_are_its_own(core: Any, device: str, name: str) -> None:
    refused = {"code": 403, "message": "Forbidden", "timestamp": NOW}
    told = ask(core, device, name, "update", state={"desired": {"instances": {"x": {}}}})
    assert told == {"rejected": refused}
    assert ask(core, device, name, "delete") == {"rejected": refused}
    assert "accepted" in report(core, device, name, anything=1)


def test_a_registered_device_finds_its_applications_shadow(core: Any) -> None:
    device = core.register()
    got = ask(core, device, "applications", "get")["accepted"]
    assert (got["version"], got["state"]["desired"]) == (1, {"instances": {}})


@pytest.mark.parametrize("name", ["a b", "x" * 65, "a.b"])
def test_names_are_checked(core: Any, device: str, name: str) -> None:
    told = ask(core, device, name, "get")["rejected"]
    assert (told["code"], told["message"]) == (400, f"Invalid shadow name: {name[:64]}")


def test_a_thing_has_not_any_number_of_shadows(core: Any, device: str) -> None:
    told = [report(core, device, f"s{number}", a=1) for number in range(SHADOWS_MAX + 1)]
    refused = [answer["rejected"]["message"] for answer in told if "rejected" in answer]
    assert set(refused) == {f"A thing has at most {SHADOWS_MAX} shadows"}
    assert "accepted" in told[0]


def test_a_shadow_survives_a_restart(core: Any, device: str) -> None:
    report(core, device, "mode", a={"b": 1})
    before = ask(core, device, "mode", "get")["accepted"]
    core.start()
    core.plane.connected(device)
    assert ask(core, device, "mode", "get")["accepted"] == before


JSON = st.recursive(
    st.booleans() | st.integers(0, 3) | st.sampled_from(["a", "b"]),
    lambda inner: st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=6,
)
DOCUMENT = st.dictionaries(st.sampled_from("xyz"), JSON, max_size=3)


@given(DOCUMENT, DOCUMENT)
@settings(deadline=None)
def test_reporting_the_difference_leaves_none(desired: Any, reported: Any) -> None:
    differs = _difference(desired, reported)
    merged, _ = _merged(reported, {}, differs, NOW)
    assert _difference(desired, merged) == {}
