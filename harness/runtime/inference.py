"""Model nodes inside the application process: ONNX Runtime, one thread, checked shapes."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from harness.errors import InputError
from harness.runtime.telemetry import Inference

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from harness.runtime.spec import ModelFile
    from harness.runtime.telemetry import Message

_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a call takes on the appliance, and how much longer the first one."""

    call_s: float
    first_more_s: float


class Model:
    """One model node; it loads in the background, the first `run` waits for it."""

    def __init__(self, file: ModelFile, emit: Callable[[Message], None]) -> None:
        self._file = file
        self._emit = emit
        self._session: Any = None
        self._error: Exception | None = None
        self.pace: Pace | None = None
        self._called = False
        self._thread = threading.Thread(target=self._load, name=f"model-{file.node}", daemon=True)
        self._thread.start()

    def run(self, given: Any, timeout_s: float | None = None) -> tuple[NDArray[Any], ...]:
        """Infer. `given` is {input name: array}, one array, or one picture (H x W x 3, BGR).

        Raises `InputError` when the model and its descriptor, or the model and what is given,
        do not agree, `TimeoutError` after `timeout_s`.
        """
        started_s = time.monotonic()
        self._thread.join(timeout_s)
        if self._error is not None:
            raise self._error
        if self._session is None:
            raise TimeoutError(f"model node {self._file.node!r} not loaded within {timeout_s} s")
        feeds = self._feeds(given)
        began_s = time.monotonic()
        left_s = None if timeout_s is None else timeout_s - (began_s - started_s)
        outputs = self._infer(feeds, left_s)
        host_s = time.monotonic() - began_s
        target_s = self._target_s()
        if target_s is not None:
            self._stay(began_s, target_s, left_s)
        ended_s = time.monotonic()
        told = Inference(self._file.node, ended_s, (ended_s - began_s) * 1e3)
        if target_s is not None:
            told = replace(told, host_ms=host_s * 1e3, target_ms=target_s * 1e3)
        self._emit(told)
        return tuple(outputs)

    def _target_s(self) -> float | None:
        """What this call takes on the appliance; the first one warms up."""
        pace, first = self.pace, not self._called
        self._called = True
        if pace is None:
            return None
        return pace.call_s + (pace.first_more_s if first else 0.0)

    def _stay(self, began_s: float, target_s: float, left_s: float | None) -> None:
        """Until the appliance would be done; `TimeoutError` where that is too late."""
        late = left_s is not None and target_s > left_s
        until_s = began_s + (left_s if late and left_s is not None else target_s)
        while (rest_s := until_s - time.monotonic()) > 0:
            time.sleep(rest_s)
        if late:
            raise TimeoutError(f"model node {self._file.node!r}: time_out passed")

    def _infer(
        self, feeds: Mapping[str, NDArray[Any]], left_s: float | None
    ) -> Sequence[NDArray[Any]]:
        if left_s is None:
            outputs: Sequence[NDArray[Any]] = self._session.run(None, feeds)
            return outputs
        import onnxruntime

        options = onnxruntime.RunOptions()
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            options.terminate = True

        timer = threading.Timer(max(left_s, 0.0), expire)
        timer.start()
        try:
            outputs = self._session.run(None, feeds, options)
        except Exception as error:
            if expired.is_set():
                raise TimeoutError(f"model node {self._file.node!r}: time_out passed") from error
            raise
        finally:
            timer.cancel()
            timer.join()
        return outputs

    def _load(self) -> None:
        try:
            session = open_session(self._file)
            self._check_descriptor(session)
            self._session = session
        except Exception as error:  # handed to whoever calls the model
            self._error = error

    def _check_descriptor(self, session: Any) -> None:
        described = self._file.descriptor.get("mlModelDescriptor", {}).get("inputs", [])
        actual = {entry.name: list(entry.shape) for entry in session.get_inputs()}
        for entry in described:
            name, shape = entry.get("name"), list(entry.get("shape", ()))
            if name not in actual or not _fits(shape, actual[name]):
                raise InputError(
                    f"model node {self._file.node!r}: descriptor input {name!r} of shape {shape}, "
                    f"but the model takes {actual}",
                    hint="make mlModelDescriptor.inputs name the model's inputs and shapes",
                )

    def _feeds(self, given: Any) -> dict[str, NDArray[Any]]:
        inputs = {entry.name: entry for entry in self._session.get_inputs()}
        if not isinstance(given, Mapping):
            if len(inputs) != 1:
                raise self._wrong(f"one array for the inputs {list(inputs)}")
            given = {next(iter(inputs)): given}
        if set(given) != set(inputs):
            raise self._wrong(f"inputs {sorted(given)}, the model takes {sorted(inputs)}")
        return {name: self._array(inputs[name], value) for name, value in given.items()}

    def _array(self, entry: Any, value: Any) -> NDArray[Any]:
        array = np.asarray(value)
        if array.dtype == np.uint8 and array.ndim == 3 and len(entry.shape) == 4:
            array = prepare(array, entry.shape)
        if not _fits(list(array.shape), list(entry.shape)):
            raise self._wrong(
                f"input {entry.name!r} of shape {list(array.shape)}, expected {list(entry.shape)}"
            )
        return np.ascontiguousarray(array, dtype=_DTYPES.get(entry.type, array.dtype))

    def _wrong(self, what: str) -> InputError:
        return InputError(
            f"model node {self._file.node!r}: {what}", hint="see the model's descriptor.json"
        )


def open_session(file: ModelFile) -> Any:
    """An ONNX Runtime session on one thread. Raises `InputError` when it cannot be loaded."""
    import onnxruntime  # 100 ms and 40 MB: only processes with a model pay for it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(
            str(file.path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise InputError(
            f"model node {file.node!r}: {file.path.name} cannot be loaded: {error}",
            hint="the model asset must hold an intact ONNX file",
        ) from error


def prepare(image: NDArray[np.uint8], shape: Sequence[int | str]) -> NDArray[np.float32]:
    """A BGR picture as the model wants it: scaled, RGB planes, float32 in 0..1, N x 3 x H x W."""
    height = shape[2] if isinstance(shape[2], int) else image.shape[0]
    width = shape[3] if isinstance(shape[3], int) else image.shape[1]
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
    planar = frame.to_ndarray(format="rgb24", width=width, height=height).transpose(2, 0, 1)
    return np.ascontiguousarray(planar[None], dtype=np.float32) / np.float32(255)


def _fits(given: Sequence[int], expected: Sequence[int | str | None]) -> bool:
    """Whether the shapes agree; a dimension that the model leaves open takes any size."""
    return len(given) == len(expected) and all(
        not isinstance(want, int) or have == want
        for have, want in zip(given, expected, strict=True)
    )
