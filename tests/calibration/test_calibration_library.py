from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.calibration.library import NetworkLibrary, read_network
from harness.errors import InputError
from harness.jetson.network import CONCAT, COPY

if TYPE_CHECKING:
    from pathlib import Path


def test_published_totals_are_kept(library: NetworkLibrary) -> None:
    network = library.by_key["resnet50@224x224"]
    assert network.macs / 1e9 == pytest.approx(4.0892, rel=1e-4)
    assert network.parameters / 1e6 == pytest.approx(25.503, rel=1e-4)
    assert network.kernels == 56
    assert network.origin == ""


def test_derived_networks_say_so(library: NetworkLibrary) -> None:
    narrow = library.by_key["mobilenet-v1-0.5-128@128x128"]
    plain = library.by_key["mobilenet_v1@224x224"]
    assert narrow.origin
    assert narrow.macs < plain.macs * (128 / 224) ** 2
    assert library.by_key["ppyolo_r50@608x608"].macs / 1e9 == pytest.approx(50.6, rel=0.02)


def test_kernels_without_arithmetic_are_added_where_descriptors_leave_them_out(
    library: NetworkLibrary,
) -> None:
    dense = library.by_key["densenet121@224x224"].layers
    copies = sum(layer.repeat for layer in dense if layer.kind == CONCAT)
    assert copies == 21 + 78 + 300 + 136  # 6, 12, 24 and 16 layers, each copied into all later ones
    assert sum(layer.kind == COPY for layer in dense) == 119
    shuffle = library.by_key["shufflenet_v2_x1_0@224x224"].layers
    assert any(layer.kind == COPY for layer in shuffle)


def test_a_name_with_a_note_and_a_size_not_listed(library: NetworkLibrary) -> None:
    noted = library.find("yolov8n(v8)", "640x640")
    assert noted is not None
    assert noted.key == "yolov8n@640x640"
    larger = library.find("yolov8n", "1280x1280")
    assert larger is not None
    assert larger.macs == pytest.approx(4 * noted.macs)
    assert larger.origin.startswith("scaled from yolov8n@")
    assert library.find("rnnt", "anything") is library.by_key["rnnt@librispeech"]
    assert library.find("nothing") is None


def test_a_descriptor_file_that_is_wrong_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    with pytest.raises(InputError, match="No such file"):
        read_network(path)
    path.write_text('{"model": "x"}', encoding="utf-8")
    with pytest.raises(InputError, match="missing required field"):
        read_network(path)
