"""How a scenario's cameras look and encode: what it changes of their profiles, and refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.scenario import compile_plan, load
from harness.scenario.camera import FISHEYE_DEG
from harness.scenario.coding import Coding
from harness.scenario.look import Look

Write = Callable[..., Path]
DOOR = "door: {profile: generic-360p15}"
YARD = "yard: {profile: generic-720p30, objects: 5}"


def camera(text: str, profile: str = "generic-360p15") -> tuple[str, str]:
    return DOOR, f"door: {{profile: {profile}, {text}}}"


def test_a_camera_is_as_its_profile_where_nothing_is_said(write: Write) -> None:
    path = write((DOOR, "door: {profile: generic-fisheye}"))
    door, yard = compile_plan(load(path)).cameras
    assert door.look == Look(fisheye_deg=FISHEYE_DEG)
    assert yard.look == Look()
    assert door.readable
    assert (door.coding.codec, door.coding.sei) == ("h264", False)


def test_a_scenario_changes_what_it_names_and_nothing_else(write: Write) -> None:
    look = "look: {light: night, weather: rain, occluders: 2, caption: 'door 7', clock: true,"
    look += " labels: [person, bicycle], size: 1.5, visibility_min: 0.25}"
    coding = 'coding: {profile: high, level: "4.1", rate_control: cbr, b_frames: 2, sei: true}'
    door, _ = compile_plan(load(write(camera(f"{look}, {coding}", "generic-fisheye")))).cameras
    assert door.look == Look(
        light="night",
        weather="rain",
        occluders=2,
        caption="door 7",
        clock=True,
        fisheye_deg=FISHEYE_DEG,
        labels=("person", "bicycle"),
        size=1.5,
        visibility_min=0.25,
    )
    assert door.coding == Coding("h264", "high", "4.1", "cbr", 2, sei=True)


def test_a_plan_says_how_cameras_look(write: Write) -> None:
    day, night = (
        compile_plan(load(write(camera(f"look: {{light: {light}}}")))) for light in ("day", "night")
    )
    assert day.digest != night.digest
    assert night.to_json()["cameras"][0]["look"]["light"] == "night"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("look: {light: dusk}", "`dusk` is not allowed for `light`"),
        ("look: {weather: rainy}", "did you mean `rain`?"),
        ("look: {wether: rain}", "did you mean `weather`?"),
        ("look: {occluders: 9}", "must be less than or equal to 8"),
        ("look: {caption: '" + "x" * 33 + "'}", "at most 32 characters"),
        ('look: {caption: "two\\nlines"}', "printable"),
        ("look: {fisheye_deg: 90}", "must be less than or equal to 80"),
        ("look: {labels: []}", "at least 1 item"),
        ("look: {labels: [person, person]}", "a class is named twice"),
        ("look: {labels: [persons]}", "did you mean `person`?"),
        ("look: {size: 0.1}", "must be greater than or equal to 0.25"),
        ("look: night", "expected a mapping"),
        ("coding: {codec: h264x}", "did you mean `h264`?"),
        ("coding: {level: 4.1}", "write it in quotes"),
        ('coding: {level: "4.3"}', "`4.3` is no level of H.264"),
        ("coding: {b_frames: 4}", "must be less than or equal to 3"),
        ("coding: {b_frames: 1, profile: baseline}", "camera `door`: B-frames in h264 baseline"),
        ("coding: {codec: mjpeg, sei: true}", "camera `door`: a motion JPEG clip with SEI"),
        ("coding: {codec: h265}", "`one` would never get a frame"),
    ],
)
def test_refusals(refused: Callable[..., str], text: str, message: str) -> None:
    assert message in refused(camera(text))


@pytest.mark.parametrize(
    ("profile", "text", "message"),
    [
        ("generic-4k", "codec: mjpeg", "motion JPEG of 3840x2160 pixels"),
        ("generic-variable-rate", "b_frames: 1", "B-frames of a camera that slows down"),
        ("generic-variable-rate", "codec: h265", "h265 of a camera that slows down"),
    ],
)
def test_a_coding_must_suit_the_profile(
    refused: Callable[..., str], profile: str, text: str, message: str
) -> None:
    said = refused((YARD, f"yard: {{profile: {profile}, coding: {{{text}}}}}"))
    assert message in said
    assert "yaml:10:" in said


def test_a_fault_must_show_what_can_be_encoded(refused: Callable[..., str]) -> None:
    fault = "{kind: camera.codec, target: door, for: 1s, parameters: {codec: mjpeg}}"
    said = refused((DOOR, "door: {profile: generic-4k}"), ("- observe: 2s", f"- fault: {fault}"))
    assert "camera `door`: motion JPEG of 3840x2160 pixels" in said


def test_a_camera_that_cannot_be_read_may_stand_beside_one_that_can(
    write: Write, refused: Callable[..., str]
) -> None:
    wrong = (YARD, "yard: {profile: generic-720p30, coding: {codec: h265}}")
    both = ("inputs: {camera_in: door}", "inputs: {camera_in: [door, yard]}")
    _, yard = compile_plan(load(write(wrong, both))).cameras
    assert not yard.readable
    fault = ("- observe: 2s", "- fault: {kind: camera.stall, target: yard, for: 1s}")
    assert "no application reads `yard` when camera.stall comes" in refused(wrong, both, fault)
