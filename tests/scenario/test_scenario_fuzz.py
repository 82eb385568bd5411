"""Whatever a file holds, loading gives a scenario that compiles, or all problems with places."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.scenario import ScenarioInvalid, compile_plan, from_mapping
from harness.scenario.document import read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAMES = ["north", "south", "door", "yard", "counter", "one", "7.0.13", "uplink.loss", "app.kill"]
STEPS = [
    {"provision": "north"},
    {"reboot": ["south", "north"]},
    {"remove": "one"},
    {"observe": "1s"},
    {"update": {"appliance": "north", "image": "7.0.13", "expect": "committed"}},
    {"fault": {"kind": "camera.stall", "target": "door", "for": "1s"}},
    {"deploy": {"application": "counter", "as": "two", "on": "south"}},
    {"parallel": [[{"reboot": "north"}], [{"observe": "1s"}]]},
]
ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10),
    st.sampled_from(["", "1s", "8MiB", "<= 5", "6.2.1", *NAMES]),
    st.sampled_from(STEPS),
    st.lists(st.sampled_from([*STEPS, *NAMES]), max_size=3),
    st.dictionaries(st.sampled_from([*NAMES, "kind", "for", "size"]), st.just("1s"), max_size=2),
)


def places(data: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(data, dict):
        return [path, *(p for key, item in data.items() for p in places(item, (*path, key)))]
    if isinstance(data, list):
        return [path, *(p for i, item in enumerate(data) for p in places(item, (*path, i)))]
    return [path]


@pytest.fixture
def small(write: Callable[..., Path]) -> Path:
    return write()


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(draws=st.data())
def test_any_change_is_accepted_or_refused_with_places(small: Path, draws: st.DataObject) -> None:
    data = copy.deepcopy(read(small).data)
    for _ in range(draws.draw(st.integers(1, 3))):
        *parents, last = draws.draw(st.sampled_from(places(data)[1:]))
        holder = data
        for part in parents:
            holder = holder[part]
        if draws.draw(st.booleans()):
            holder[last] = copy.deepcopy(draws.draw(ANYTHING))
        elif isinstance(holder, list):
            holder.insert(int(last), copy.deepcopy(draws.draw(ANYTHING)))
        else:
            holder[draws.draw(st.sampled_from(NAMES))] = copy.deepcopy(draws.draw(ANYTHING))
    try:
        scenario = from_mapping(data, folder=small.parent)
    except ScenarioInvalid as invalid:
        lines = [(problem.line, problem.column) for problem in invalid.problems]
        complete = bool(lines) and all(line >= 1 and column >= 1 for line, column in lines)
    else:
        complete = len(compile_plan(scenario).digest) == 64
    assert complete
