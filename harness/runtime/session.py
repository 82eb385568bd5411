"""What runs a model: ONNX Runtime, or Torch for TorchScript where it is installed.

One thread each: applications share the machine's cores as they share the appliance's.
"""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from harness.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from harness.runtime.spec import ModelFile

ONNX, TORCHSCRIPT = (".onnx",), (".pt", ".pth", ".torchscript")
SUFFIXES = (*ONNX, *TORCHSCRIPT)
_DTYPES: Mapping[str, type] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output: a dimension that is no number takes any size; `dtype` None, any type."""

    name: str
    shape: tuple[int | str | None, ...]
    dtype: type | None


class Session(Protocol):
    """A model that is loaded. `outputs` is None where the file does not say."""

    @property
    def inputs(self) -> tuple[Tensor, ...]: ...

    @property
    def outputs(self) -> tuple[Tensor, ...] | None: ...

    def run(
        self, feeds: Mapping[str, NDArray[Any]], timeout_s: float | None = None
    ) -> Sequence[NDArray[Any]]:
        """Raises `TimeoutError` after `timeout_s`."""


def open_session(file: ModelFile) -> Session:
    """Load the model. Raises `InputError` when that is not possible."""
    return OnnxSession(file) if file.path.suffix in ONNX else TorchSession(file)


def described(file: ModelFile, which: str) -> tuple[Tensor, ...]:
    """The `inputs` or `outputs` of descriptor.json, as far as it names any."""
    entries = file.descriptor.get("mlModelDescriptor", {}).get(which, ())
    return tuple(
        Tensor(str(entry.get("name")), tuple(entry.get("shape", ())), None) for entry in entries
    )


def _unloadable(file: ModelFile, why: object, hint: str) -> InputError:
    text = f"model node {file.node!r}: {file.path.name} cannot be loaded: {why}"
    return InputError(text, hint=hint)


class OnnxSession:
    def __init__(self, file: ModelFile) -> None:
        import onnxruntime  # 100 ms and 40 MB: only processes with a model pay for it

        self._runtime = onnxruntime
        self._node = file.node
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                str(file.path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            hint = "the model asset must hold an intact ONNX file"
            raise _unloadable(file, error, hint) from error
        self.inputs = tuple(map(_tensor, self._session.get_inputs()))
        self.outputs = tuple(map(_tensor, self._session.get_outputs()))

    def run(
        self, feeds: Mapping[str, NDArray[Any]], timeout_s: float | None = None
    ) -> Sequence[NDArray[Any]]:
        if timeout_s is None:
            outputs: Sequence[NDArray[Any]] = self._session.run(None, feeds)
            return outputs
        options = self._runtime.RunOptions()
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            options.terminate = True

        timer = threading.Timer(max(timeout_s, 0.0), expire)
        timer.start()
        try:
            outputs = self._session.run(None, feeds, options)
        except Exception as error:
            if expired.is_set():
                raise TimeoutError(f"model node {self._node!r}: time_out passed") from error
            raise
        finally:
            timer.cancel()
            timer.join()
        return outputs


def _tensor(entry: Any) -> Tensor:
    return Tensor(entry.name, tuple(entry.shape), _DTYPES.get(entry.type))


class TorchSession:
    """TorchScript on the CPU. Its inputs are those of the descriptor, in their order.

    A call that takes too long is given up and ends by itself: Torch cannot be interrupted.
    """

    def __init__(self, file: ModelFile) -> None:
        try:
            import torch
        except ImportError as error:
            hint = "install the extra `torch`, or export the model to ONNX"
            raise _unloadable(file, f"TorchScript needs Torch: {error}", hint) from error
        self._torch = torch
        self._node = file.node
        torch.set_num_threads(1)
        try:
            with warnings.catch_warnings():  # there is another way now; these files are older
                warnings.simplefilter("ignore", DeprecationWarning)
                self._module = torch.jit.load(str(file.path), map_location="cpu").eval()
        except Exception as error:
            hint = "the model asset must hold what torch.jit.save wrote"
            raise _unloadable(file, str(error).strip().partition("\n")[0], hint) from error
        self.inputs = described(file, "inputs")
        if not self.inputs:
            raise _unloadable(
                file, "descriptor.json names no inputs", "TorchScript does not: name them there"
            )
        self.outputs: tuple[Tensor, ...] | None = None
        half = any(parameter.dtype == torch.float16 for parameter in self._module.parameters())
        self._dtype = torch.float16 if half else torch.float32

    def run(
        self, feeds: Mapping[str, NDArray[Any]], timeout_s: float | None = None
    ) -> Sequence[NDArray[Any]]:
        if timeout_s is None:
            return self._forward(feeds)
        found: list[Sequence[NDArray[Any]]] = []
        failed: list[Exception] = []

        def work() -> None:
            try:
                found.append(self._forward(feeds))
            except Exception as error:  # handed to whoever waits
                failed.append(error)

        thread = threading.Thread(target=work, name=f"call-{self._node}", daemon=True)
        thread.start()
        thread.join(max(timeout_s, 0.0))
        if failed:
            raise failed[0]
        if not found:
            raise TimeoutError(f"model node {self._node!r}: time_out passed")
        return found[0]

    def _forward(self, feeds: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
        torch = self._torch
        tensors = [self._given(feeds[entry.name]) for entry in self.inputs]
        with torch.inference_mode():
            made = self._module(*tensors)
        made = made.values() if isinstance(made, dict) else made
        made = [made] if isinstance(made, torch.Tensor) else made
        return [one.detach().cpu().numpy() for one in made]

    def _given(self, array: NDArray[Any]) -> Any:
        tensor = self._torch.from_numpy(array)
        return tensor.to(self._dtype) if tensor.is_floating_point() else tensor
