from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from harness.errors import InputError
from harness.scenario import ScenarioInvalid, from_mapping, json_schema, load
from harness.scenario.document import read
from harness.scenario.loading import shown

Refused = Callable[..., str]
Write = Callable[..., Path]
ROOT = Path(__file__).parents[2]


def test_the_small_scenario_is_valid(write: Write, tmp_path: Path) -> None:
    scenario = load(write(), base=tmp_path)
    assert scenario.source == "scenarios/small.yaml"
    assert scenario.applications == {"counter": "apps/counter"}
    assert scenario.appliance_profiles["lenovo-se70"].module == "Jetson Xavier NX"


def test_files_agree_with_the_published_schema(write: Write) -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for path in (write(), *(ROOT / "scenarios").glob("*.yaml")):
        validator.validate(read(path).data)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("stop_after: 1m", "stop_after: 60"),
        ("seed: 3", "seed: -1"),
        ("- observe: 2s", "- observe: 2s\n    reboot: north"),
        ("name: small", "name: Small One"),
        ("size: 8MiB", "size: 8MB"),
        ("checks: [steps]", "checks: []"),
        ("seed: 3", "sed: 3"),
    ],
)
def test_the_schema_refuses_what_loading_refuses(
    write: Write, refused: Refused, old: str, new: str
) -> None:
    assert refused((old, new))
    assert not jsonschema.Draft202012Validator(json_schema()).is_valid(read(write((old, new))).data)


def test_all_problems_come_at_once_with_places(refused: Refused) -> None:
    message = refused(
        ("seed: 3", "sed: 3"), ("objects: 5", "objects: 99"), ("stop_after: 1m", "stop_after: 1:30")
    )
    assert "scenarios/small.yaml:3:1: unknown key `sed`" in message
    assert "hint: did you mean `seed`?" in message
    assert "scenarios/small.yaml:10:46: must be less than or equal to 16" in message
    assert "small.yaml:21:13: `1:30` is not a duration" in message


def test_the_error_is_an_input_error_with_problems_in_file_order(write: Write) -> None:
    path = write(("schema: 1", "schema: 2"), ("checks: [steps]", "checks: steps"))
    with pytest.raises(InputError) as caught:
        load(path)
    assert isinstance(caught.value, ScenarioInvalid)
    assert [problem.line for problem in caught.value.problems] == [1, 20]
    assert caught.value.exit_code == 2
    assert "2 problems" in caught.value.hint


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: small\n", "", "1:1: `name` is missing"),
        ("as: one, on: north, ", "", "2 problems"),
        ("firmware: 6.2.1}\n    south", "firmware: 6.2}\n    south", "found `6.2`"),
        ("name: small", "name: Small", "lower-case letters"),
        ("seed: 3", "seed: '3'", "expected a whole number, found `3`"),
        ("seed: 3", "seed: 3\nengine: modell", "did you mean `model`?"),
        ("seed: 3", "seed: 3\ntime_scale: yes", "expected a number, found `yes`"),
        ("- observe: 2s", "- observe: 0s", "the duration must not be zero"),
        ("- observe: 2s", "- observe: 99d", "`99d` is too long"),
        ("- observe: 2s", "- observe: 2s\n    timeout: 3s", "`observe` has no timeout"),
        ("- observe: 2s", "- {}", "a step does one thing, this one nothing"),
        ("- observe: 2s", "- watch: 2s", "unknown key `watch`"),
        ("- observe: 2s", "- parallel: [[{observe: 1s}]]", "at least 2 items"),
        ("checks: [steps]", "checks: [{steps: , slots: }]", "name one check an entry"),
        ("checks: [steps]", "checks: [steps]\nlimits: {latency: {p99: <= 5}}", "end in their unit"),
        (
            "checks: [steps]",
            "checks: [steps]\nlimits: {latency_ms: {p98: <= 5}}",
            "`p98` is not allowed",
        ),
        (
            "checks: [steps]",
            "checks: [steps]\nlimits: {latency_ms: {p99: 5}}",
            "`5` is not a limit",
        ),
        ("camera_in: door}", "camera_in: door}, parameters: {a: [1]}", "a parameter is one value"),
        ("seed: 3", "seed: 3\nseed: 4", "key `seed` is given twice"),
    ],
)
def test_shape(refused: Refused, write: Write, old: str, new: str, message: str) -> None:
    if message.endswith("problems"):
        with pytest.raises(ScenarioInvalid) as caught:
            load(write((old, new)))
        assert message in caught.value.hint
    else:
        assert message in refused((old, new))


def test_check_names_and_parameters_when_they_are_known(refused: Refused, write: Write) -> None:
    known = {"steps": (), "detections": ("precision_min",)}
    load(write(), known_checks=known)
    message = refused(
        ("checks: [steps]", "checks: [stepps, {detections: {precision: 1}}, detections]"),
        known_checks=known,
    )
    assert "unknown check `stepps`" in message
    assert "did you mean `steps`?" in message
    assert "unknown parameter of detections `precision`" in message
    assert "check `detections` is listed twice" in message


def test_profiles_of_the_project_come_before_our_own(write: Write, tmp_path: Path) -> None:
    folder = tmp_path / "device_profiles/cameras"
    folder.mkdir(parents=True)
    ours = (ROOT / "device_profiles/cameras/generic-360p15.yaml").read_text(encoding="utf-8")
    (folder / "generic-360p15.yaml").write_text(ours.replace("value: 640", "value: 320"))
    scenario = load(write())
    assert scenario.camera_profiles["generic-360p15"].width_px == 320
    assert scenario.camera_profiles["generic-720p30"].width_px == 1280


def test_a_wrong_profile_is_reported_in_its_own_file(write: Write, tmp_path: Path) -> None:
    folder = tmp_path / "device_profiles/cameras"
    folder.mkdir(parents=True)
    (folder / "own.yaml").write_text("schema: 1\nname: other\nrate_fps: {value: 15}\n")
    with pytest.raises(ScenarioInvalid) as caught:
        load(write(("profile: generic-360p15", "profile: own"), ("name: small", "name: S")))
    assert {problem.file.split("/")[-1] for problem in caught.value.problems} == {"small.yaml"}
    with pytest.raises(ScenarioInvalid) as caught:
        load(write(("profile: generic-360p15", "profile: own")))
    assert "device_profiles/cameras/own.yaml:3:1: `source` is missing" in str(caught.value)


def test_an_unknown_profile_lists_the_known_ones(refused: Refused) -> None:
    message = refused(("generic-360p15", "nothing-like-it"))
    assert "unknown camera profile `nothing-like-it`" in message
    assert "`generic-1080p15`, `generic-360p15`, `generic-4k`, `generic-720p15`" in message


def test_a_mapping_from_python_is_checked_alike(write: Write, tmp_path: Path) -> None:
    data = read(write()).data
    scenario = from_mapping(data, folder=tmp_path / "scenarios", base=tmp_path)
    assert scenario.applications == {"counter": "apps/counter"}
    with pytest.raises(ScenarioInvalid, match=r"<mapping>:1:1: unknown key `sed`|unknown key"):
        from_mapping({**data, "sed": 1}, folder=tmp_path / "scenarios")


def test_paths_inside_the_project_are_relative(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "scenarios").mkdir(parents=True)
    (project / "pyproject.toml").touch()
    inside = project / "apps/one"
    assert shown(inside, project) == "apps/one"
    assert shown(inside, project / "scenarios") == "../apps/one"
    assert shown(tmp_path / "elsewhere", project) == (tmp_path / "elsewhere").as_posix()
