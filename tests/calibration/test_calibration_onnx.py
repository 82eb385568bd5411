from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from harness.calibration.library import read_network
from harness.calibration.onnx_work import describe
from harness.errors import CapabilityMissing, InputError

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"


def graph(nodes: list[Any], weights: dict[str, tuple[int, ...]], size: Any = 8) -> Any:
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4, size, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            helper.make_tensor(name, TensorProto.FLOAT, shape, [0.0] * _count(shape))
            for name, shape in weights.items()
        ],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for one in shape:
        total *= one
    return total


def saved(tmp_path: Path, model: Any) -> Path:
    path = tmp_path / "net.onnx"
    onnx.save(model, str(path))
    return path


def test_layers_are_counted_as_kernels(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "d"], ["c"], group=6, kernel_shape=[3, 3]),
        helper.make_node("GlobalAveragePool", ["c"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Gemm", ["f", "g"], ["y"]),
    ]
    weights = {"w": (6, 4, 3, 3), "d": (6, 1, 3, 3), "g": (6, 10)}
    row = describe(saved(tmp_path, graph(nodes, weights)), "mine")
    assert (row.model, row.h, row.w) == ("mine", 8, 8)
    assert [layer.t for layer in row.layers] == ["conv", "conv", "pool", "fc"]
    first, depthwise, pool, dense = row.layers
    assert (first.macs, first.inp, first.out) == (64 * 6 * 36, 4 * 64, 6 * 64)
    assert (first.cin, first.cout, first.k, first.g) == (4, 6, 9, 1)
    assert (depthwise.macs, depthwise.g) == (36 * 6 * 9, 6)
    assert depthwise.layer().depthwise
    assert (pool.inp, pool.out) == (6 * 36, 6)
    assert (dense.macs, dense.w, dense.cout) == (60, 60, 10)
    assert row.gmacs == pytest.approx((64 * 6 * 36 + 36 * 54 + 60) / 1e9)


def test_what_moves_data_is_a_copy_and_joins_are_joins(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Concat", ["a", "x"], ["b"], axis=1),
        helper.make_node("Transpose", ["b"], ["y"], perm=[0, 2, 3, 1]),
    ]
    row = describe(saved(tmp_path, graph(nodes, {"w": (4, 4, 1, 1)})))
    assert [layer.t for layer in row.layers] == ["conv", "concat", "copy"]
    assert row.layers[1].inp == row.layers[1].out == 8 * 64


def test_a_product_of_two_results_has_no_weights(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    ]
    layer = describe(saved(tmp_path, graph(nodes, {}))).layers[1]
    assert (layer.w, layer.macs) == (0, 4 * 8 * 8 * 8)


@pytest.mark.parametrize(
    ("name", "gmacs", "millions"), [("resnet50", 4.0892, 25.503), ("vgg19", 19.632, 143.65)]
)
def test_well_known_networks_have_their_published_work(
    name: str, gmacs: float, millions: float
) -> None:
    row = describe(LIGHT / f"light_{name}.onnx")
    assert row.gmacs == pytest.approx(gmacs, rel=1e-3)
    assert row.params_m == pytest.approx(millions, rel=1e-3)


def test_a_description_is_read_back_as_a_network(tmp_path: Path) -> None:
    import msgspec

    row = describe(LIGHT / "light_squeezenet.onnx", "squeeze")
    path = tmp_path / "squeeze.json"
    path.write_bytes(msgspec.json.encode(row))
    network = read_network(path)
    assert network.key == "squeeze@224x224"
    assert network.macs == pytest.approx(row.gmacs * 1e9)


def test_what_cannot_be_described_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    with pytest.raises(InputError, match="No such file"):
        describe(path)
    path.write_bytes(b"not an onnx file")
    with pytest.raises(InputError, match="not an ONNX model"):
        describe(path)
    relu = graph([helper.make_node("Relu", ["x"], ["y"])], {})
    with pytest.raises(InputError, match="no convolution"):
        describe(saved(tmp_path, relu))
    open_size = graph([helper.make_node("Conv", ["x", "w"], ["y"])], {"w": (4, 4, 1, 1)}, "rows")
    with pytest.raises(InputError, match="is not known"):
        describe(saved(tmp_path, open_size))


def test_without_the_package_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(CapabilityMissing, match="onnx") as caught:
        describe(tmp_path / "net.onnx")
    assert "jetson" in caught.value.hint
