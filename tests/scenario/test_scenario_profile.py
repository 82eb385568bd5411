from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from harness.jetson.hardware import bandwidth_bytes_per_s
from harness.scenario import FileInvalid, ProfileLibrary, profile_schemas
from harness.scenario.document import read
from harness.scenario.profile import appliance_profile, camera_profile
from harness.scenario.quirk import Quirks

SHIPPED = Path(__file__).parents[2] / "device_profiles"
APPLIANCES = sorted((SHIPPED / "appliances").glob("*.yaml"))
CAMERAS = sorted((SHIPPED / "cameras").glob("*.yaml"))


@pytest.mark.parametrize("path", [*APPLIANCES, *CAMERAS], ids=lambda path: path.stem)
def test_shipped_profiles_are_valid_by_loading_and_by_schema(path: Path) -> None:
    kind = path.parent.name.removesuffix("s")
    profile = appliance_profile(path) if kind == "appliance" else camera_profile(path)
    assert profile.name == path.stem
    schema = profile_schemas()[kind]
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(read(path).data)


def numbers_without_source(data: Any, loc: str = "") -> list[str]:
    if isinstance(data, dict):
        if "source" in data:
            return []
        return [
            found
            for key, item in data.items()
            if key != "schema"
            for found in numbers_without_source(item, f"{loc}/{key}")
        ]
    return [loc] if isinstance(data, (int, float)) and not isinstance(data, bool) else []


@pytest.mark.parametrize("path", [*APPLIANCES, *CAMERAS], ids=lambda path: path.stem)
def test_every_number_has_a_source_and_every_estimate_an_error(path: Path) -> None:
    data = read(path).data
    assert numbers_without_source(data) == []
    assert estimates_without_error(data) == []


def estimates_without_error(data: Any, loc: str = "") -> list[str]:
    if not isinstance(data, dict):
        return []
    if "source" in data:
        bare = str(data["source"]).startswith("estimate") and not data.get("error")
        return [loc] if bare else []
    return [
        found
        for key, item in data.items()
        for found in estimates_without_error(item, f"{loc}/{key}")
    ]


def test_the_vendors_numbers() -> None:
    profile = appliance_profile(SHIPPED / "appliances/panorama-appliance.yaml")
    assert profile.memory_bytes == 32 << 30
    assert (profile.boot_s, profile.shutdown_s, profile.model_load_s) == (60.0, 10.0, 60.0)
    assert profile.inference_ms == 7.185
    assert profile.inference_ms + profile.host_ms == pytest.approx(66.561)
    assert profile.streams_max == 8


def test_slots_and_data_fit_the_storage() -> None:
    drive_bytes = {
        "panorama-appliance": 32 * 10**9,
        "lenovo-se70": 16 * 10**9,
        "jetson-agx-orin": 64 * 10**9,
        "jetson-orin-nx-16gb": 128 * 10**9,
        "jetson-orin-nano-8gb": 128 * 10**9,
    }
    for path in APPLIANCES:
        profile = appliance_profile(path)
        assert 2 * profile.slot_bytes + profile.data_bytes <= drive_bytes[profile.name]


BANDWIDTH_GB_PER_S = {
    "panorama-appliance": 136.5,
    "lenovo-se70": 59.7,
    "jetson-agx-orin": 204.8,
    "jetson-orin-nx-16gb": 102.4,
    "jetson-orin-nano-8gb": 102.4,
}


@pytest.mark.parametrize("path", APPLIANCES, ids=lambda path: path.stem)
def test_every_appliance_has_hardware_with_its_modes_the_fastest_first(path: Path) -> None:
    hardware = appliance_profile(path).hardware
    assert hardware is not None
    assert hardware.name == path.stem
    peak = bandwidth_bytes_per_s(hardware, hardware.fastest) / 1e9
    assert peak == pytest.approx(BANDWIDTH_GB_PER_S[path.stem], rel=0.01)
    for mode in hardware.modes:
        assert mode.gpu_sms <= hardware.gpu_sms
        assert mode.cpu_cores <= hardware.cpu_cores
        assert mode.dla_count <= hardware.dla_count
        assert mode.gpu_mhz <= hardware.fastest.gpu_mhz
        assert mode.memory_mhz <= hardware.fastest.memory_mhz
    thermal = hardware.thermal
    assert thermal.fan_c < thermal.throttle_c < thermal.shutdown_c
    assert thermal.fan_resistance_c_per_w < thermal.resistance_c_per_w


def test_a_number_without_a_source_is_refused(tmp_path: Path) -> None:
    text = (SHIPPED / "appliances/lenovo-se70.yaml").read_text(encoding="utf-8")
    path = tmp_path / "lenovo-se70.yaml"
    path.write_text(text.replace("inference_ms:\n  value: 9.475\n", "inference_ms: 9.475\nx:\n"))
    with pytest.raises(FileInvalid) as caught:
        appliance_profile(path)
    assert "expected a mapping (`key: value`), found `9.475`" in str(caught.value)
    assert "unknown key `x`" in str(caught.value)


def test_the_name_is_the_files(tmp_path: Path) -> None:
    path = tmp_path / "renamed.yaml"
    path.write_text(CAMERAS[0].read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(FileInvalid, match="the name differs from the file's"):
        camera_profile(path)


def test_the_library_looks_upward_and_then_at_home(tmp_path: Path) -> None:
    deep = tmp_path / "a/b"
    deep.mkdir(parents=True)
    (tmp_path / "device_profiles/cameras").mkdir(parents=True)
    own = tmp_path / "device_profiles/cameras/mine.yaml"
    own.touch()
    library = ProfileLibrary(deep)
    assert library.find("cameras", "mine") == own
    assert "generic-360p15" in library.known("cameras")
    assert library.known("appliances") == (
        "jetson-agx-orin",
        "jetson-orin-nano-8gb",
        "jetson-orin-nx-16gb",
        "lenovo-se70",
        "panorama-appliance",
    )
    assert library.find("appliances", "none") is None


TESTED = {  # with the vendor's appliance (developer guide, 2024 edition, cameras)
    "axis-m3057-plve": "M3057-PLVE",
    "axis-m3058-plve": "M3058-PLVE",
    "axis-p1448-le": "P1448-LE",
    "axis-p3225-lv-mkii": "P3225-LV Mk II",
    "laview-lv-pb3040w": "LV-PB3040W",
    "vivotek-ib9360-h": "IB9360-H",
    "amcrest-ip2m-841b": "IP2M-841B",
    "anpviz-ipc-b850w-s-3x": "IPC-B850W-S-3X",
    "anpviz-ipc-d250w-s": "IPC-D250W-S",
    "wgcc-dome-4mp": "Dome PoE 4MP ONVIF",
}


@pytest.mark.parametrize(("name", "model"), TESTED.items())
def test_the_tested_models_are_described(name: str, model: str) -> None:
    profile = camera_profile(SHIPPED / f"cameras/{name}.yaml")
    assert (profile.model, bool(profile.maker)) == (model, True)
    assert "H264" in profile.codecs
    assert profile.resolutions
    assert profile.streams
    assert profile.quirks.names


def test_every_quirk_is_somebodys() -> None:
    shipped = [camera_profile(path).quirks for path in CAMERAS]
    assert {name for quirks in shipped for name in quirks.names} == {f.name for f in fields(Quirks)}
    assert {camera_profile(path).look for path in CAMERAS} == {"fixed", "fisheye", "ptz"}
    assert any(camera_profile(path).slow_rate_fps for path in CAMERAS)


def test_what_a_profile_leaves_out_is_a_good_camera() -> None:
    profile = camera_profile(SHIPPED / "cameras/generic-360p15.yaml")
    assert profile.quirks == Quirks()
    assert (profile.streams, profile.scheme, profile.slow_rate_fps) == ({}, "digest", 0.0)
    assert profile.stream.path == "/{camera}/sub"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("value: none", "value: digst", "`digst` is not allowed"),
        ("path: /{camera}/main", "path: main", "is not written rightly"),
        ("path: /{camera}/main", "path: /a?b&c", "is not written rightly"),
        ("path: /{camera}/main", "path: /m\nusername: me", "user `me` of a camera without"),
        ("timestamp_reset:", "timestamp_rest:", "did you mean `timestamp_reset`?"),
        ("value: 120s", "value: 120", "is not a duration"),
        ("value: zero-rtptime", "value: zero", "`zero` is not allowed"),
    ],
)
def test_mistakes_in_a_camera_profile(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (SHIPPED / "cameras/generic-restarting-clock.yaml").read_text(encoding="utf-8")
    assert text.count(old) == 1
    path = tmp_path / "generic-restarting-clock.yaml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(FileInvalid) as caught:
        camera_profile(path)
    assert message in str(caught.value)
