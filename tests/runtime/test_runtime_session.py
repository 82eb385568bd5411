"""Models of every kind that runs: loaded, checked against their descriptors, called."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness.errors import InputError
from harness.runtime.inference import Model
from harness.runtime.package import pack_package
from harness.runtime.session import open_session
from harness.runtime.spec import ModelFile
from harness.runtime.telemetry import Inference, ModelFailed

if TYPE_CHECKING:
    from pathlib import Path

    from harness.runtime.telemetry import Message


def descriptor(**more: Any) -> dict[str, Any]:
    inputs = [{"name": "data", "shape": [1, 3, 4, 4]}]
    return {"mlModelDescriptor": {"framework": "PYTORCH", "inputs": inputs, **more}}


def onnx_file(path: Path, kind: int = TensorProto.FLOAT) -> Path:
    """`twice` = 2 x `data`, 1 x 3 x 4 x 4."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    two = numpy_helper.from_array(np.array(2, dtype), "two")
    shape = [1, 3, 4, 4]
    graph = helper.make_graph(
        [helper.make_node("Mul", ["data", "two"], ["twice"])],
        "twice",
        [helper.make_tensor_value_info("data", kind, shape)],
        [helper.make_tensor_value_info("twice", kind, shape)],
        [two],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))
    return path


def called(file: ModelFile, given: Any, timeout_s: float | None = None) -> Any:
    told: list[Message] = []
    outputs = Model(file, told.append).run(given, timeout_s)
    assert [type(message) for message in told] == [Inference]
    return outputs


GIVEN = np.arange(48, dtype=np.float32).reshape(1, 3, 4, 4)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
@pytest.mark.parametrize("precision", ["FP32", "FP16"])
def test_both_precisions_take_and_give_single_precision(
    tmp_path: Path, kind: int, precision: str
) -> None:
    path = onnx_file(tmp_path / "model.onnx", kind)
    file = ModelFile("m", path, descriptor(precisionMode=precision))
    (twice,) = called(file, {"data": GIVEN})
    assert twice.dtype == np.float32
    assert (twice == 2 * GIVEN).all()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            {"inputs": [{"name": "data", "shape": [1, 3, 224, 224]}]},
            r"descriptor input 'data' of shape \[1, 3, 224, 224\], but the model takes "
            r"{'data': \[1, 3, 4, 4\]}",
        ),
        ({"inputs": [{"name": "image", "shape": [1, 3, 4, 4]}]}, "descriptor input 'image'"),
        ({"outputs": [{"name": "twice", "shape": [1, 1000]}]}, "but the model gives {'twice': "),
        ({"outputs": [{"name": "prob", "shape": [1, 3, 4, 4]}]}, "descriptor output 'prob'"),
    ],
)
def test_what_the_descriptor_says_must_be_so(
    tmp_path: Path, more: dict[str, Any], said: str
) -> None:
    told: list[Message] = []
    file = ModelFile("m", onnx_file(tmp_path / "model.onnx"), descriptor(**more))
    model = Model(file, told.append)
    with pytest.raises(InputError, match=f"model node 'm': .*{said}"):
        model.run(GIVEN)
    (failed,) = told
    assert isinstance(failed, ModelFailed)
    assert failed.line.startswith("model node 'm': descriptor ")


def test_an_input_that_the_descriptor_forgets_is_told(tmp_path: Path) -> None:
    shape = [1, 2]
    graph = helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["sum"])],
        "sum",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "ab"],
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(tmp_path / "model.onnx"))
    file = ModelFile(
        "m", tmp_path / "model.onnx", descriptor(inputs=[{"name": "a", "shape": shape}])
    )
    with pytest.raises(InputError, match=r"the descriptor lacks the inputs \['b'\]"):
        Model(file, lambda _message: None).run({})


def test_without_torch_torchscript_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    (tmp_path / "model.pt").write_bytes(b"x")
    with pytest.raises(InputError, match=r"model\.pt cannot be loaded: .* needs Torch") as refused:
        open_session(ModelFile("m", tmp_path / "model.pt", descriptor()))
    assert "extra `torch`" in refused.value.hint


def test_a_torchscript_file_is_packed_as_it_is(tmp_path: Path) -> None:
    package = tmp_path / "123456789012-model-1.0"
    package.mkdir()
    (package / "model.pt").write_bytes(b"weights")
    (package / "descriptor.json").write_text("{}")
    (package / "package.json").write_text(
        '{"nodePackage": {"interfaces": [{"category": "ml_model", "asset": "a", "name": "i"}]}}'
    )
    packed = pack_package(package, tmp_path, tmp_path / "assets")
    assert [entry["type"] for a in packed.manifest["nodePackage"]["assets"]
            for entry in a["implementations"]] == ["model"]  # fmt: skip


# --- Torch ----------------------------------------------------------------------------------------


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="torch is not installed (extra `torch`)")


@pytest.fixture
def scripted(torch: Any, tmp_path: Path) -> ModelFile:
    class Twice(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.two = torch.nn.Parameter(torch.tensor(2.0))

        def forward(self, data: Any) -> Any:
            return data * self.two, data.sum()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it still reads what it wrote
        torch.jit.trace(Twice(), torch.zeros(1, 3, 4, 4)).save(str(tmp_path / "model.pt"))
    return ModelFile("m", tmp_path / "model.pt", descriptor())


def test_torchscript_runs_on_one_thread(torch: Any, scripted: ModelFile) -> None:
    twice, total = called(scripted, {"data": GIVEN})
    assert (twice == 2 * GIVEN).all()
    assert total == GIVEN.sum()
    assert torch.get_num_threads() == 1
    (again, _) = called(scripted, GIVEN, timeout_s=10.0)
    assert (again == twice).all()


def test_a_shape_that_torchscript_was_not_described_with_is_refused(scripted: ModelFile) -> None:
    with pytest.raises(InputError, match=r"input 'data' of shape \[1, 3, 9, 9\]"):
        Model(scripted, lambda _message: None).run({"data": np.zeros((1, 3, 9, 9), np.float32)})


def test_torchscript_that_takes_too_long_times_out(scripted: ModelFile) -> None:
    model = Model(scripted, lambda _message: None)
    model.run(GIVEN)
    with pytest.raises(TimeoutError, match="time_out passed"):
        model.run(GIVEN, 0.0)


def test_torchscript_needs_its_inputs_named(scripted: ModelFile) -> None:
    bare = ModelFile("m", scripted.path, {"mlModelDescriptor": {}})
    with pytest.raises(InputError, match=r"descriptor\.json names no inputs"):
        open_session(bare)


def test_damaged_torchscript_says_so(torch: Any, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"model\.pt cannot be loaded"):
        open_session(ModelFile("m", tmp_path / "model.pt", descriptor()))


def test_a_model_that_fails_again_and_again_keeps_nothing_of_its_callers(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"damaged")
    model = Model(ModelFile("m", tmp_path / "model.onnx", descriptor()), lambda _message: None)
    depths = []
    for _ in range(3):
        with pytest.raises(InputError) as failed:
            model.run(GIVEN)
        depths.append(len(failed.traceback))
    assert depths[0] == depths[2]
