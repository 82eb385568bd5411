"""Model nodes inside the application process: loaded in the background, checked, paced."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from harness.errors import InputError
from harness.runtime.session import described, open_session
from harness.runtime.telemetry import Inference, ModelFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from harness.runtime.session import Session, Tensor
    from harness.runtime.spec import ModelFile
    from harness.runtime.telemetry import Message


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
        self._session: Session | None = None
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
            # Its last traceback would keep the frames of every call before.
            raise self._error.with_traceback(None)
        if self._session is None:
            raise TimeoutError(f"model node {self._file.node!r} not loaded within {timeout_s} s")
        feeds = self._feeds(given)
        began_s = time.monotonic()
        left_s = None if timeout_s is None else timeout_s - (began_s - started_s)
        outputs = self._session.run(feeds, left_s)
        host_s = time.monotonic() - began_s
        target_s = self._target_s()
        if target_s is not None:
            self._stay(began_s, target_s, left_s)
        ended_s = time.monotonic()
        told = Inference(self._file.node, ended_s, (ended_s - began_s) * 1e3)
        if target_s is not None:
            told = replace(told, host_ms=host_s * 1e3, target_ms=target_s * 1e3)
        self._emit(told)
        return tuple(map(self._given_back, outputs))

    def _given_back(self, output: NDArray[Any]) -> NDArray[Any]:
        """Single precision, whatever the model computes in: so the appliance hands it over."""
        return output.astype(np.float32) if output.dtype == np.float16 else output

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

    def _load(self) -> None:
        try:
            session = open_session(self._file)
            self._agree("input", described(self._file, "inputs"), session.inputs)
            if session.outputs is not None:
                self._agree("output", described(self._file, "outputs"), session.outputs)
            self._session = session
        except Exception as error:  # handed to whoever calls the model
            self._error = error
            self._emit(ModelFailed(self._file.node, time.monotonic(), str(error)))

    def _agree(self, what: str, said: Sequence[Tensor], actual: Sequence[Tensor]) -> None:
        """Whether the descriptor, where it names any, has the model's names and shapes."""
        shapes = {entry.name: list(entry.shape) for entry in actual}
        verb = "takes" if what == "input" else "gives"
        hint = f"make mlModelDescriptor.{what}s name the model's {what}s and shapes"
        for entry in said:
            if entry.name not in shapes or not _fits(entry.shape, shapes[entry.name]):
                raise InputError(
                    f"model node {self._file.node!r}: descriptor {what} {entry.name!r} of shape "
                    f"{list(entry.shape)}, but the model {verb} {shapes}",
                    hint=hint,
                )
        missing = sorted(shapes.keys() - {entry.name for entry in said})
        if said and missing and what == "input":
            raise InputError(
                f"model node {self._file.node!r}: the descriptor lacks the {what}s {missing}, "
                f"which the model {verb}",
                hint=hint,
            )

    def _feeds(self, given: Any) -> dict[str, NDArray[Any]]:
        assert self._session is not None
        inputs = {entry.name: entry for entry in self._session.inputs}
        if not isinstance(given, Mapping):
            if len(inputs) != 1:
                raise self._wrong(f"one array for the inputs {list(inputs)}")
            given = {next(iter(inputs)): given}
        if set(given) != set(inputs):
            raise self._wrong(f"inputs {sorted(given)}, the model takes {sorted(inputs)}")
        return {name: self._array(inputs[name], value) for name, value in given.items()}

    def _array(self, entry: Tensor, value: Any) -> NDArray[Any]:
        array = np.asarray(value)
        if array.dtype == np.uint8 and array.ndim == 3 and len(entry.shape) == 4:
            array = prepare(array, entry.shape)
        if not _fits(list(array.shape), list(entry.shape)):
            raise self._wrong(
                f"input {entry.name!r} of shape {list(array.shape)}, expected {list(entry.shape)}"
            )
        return np.ascontiguousarray(array, dtype=entry.dtype or array.dtype)

    def _wrong(self, what: str) -> InputError:
        return InputError(
            f"model node {self._file.node!r}: {what}", hint="see the model's descriptor.json"
        )


def prepare(image: NDArray[np.uint8], shape: Sequence[int | str | None]) -> NDArray[np.float32]:
    """A BGR picture as the model wants it: scaled, RGB planes, float32 in 0..1, N x 3 x H x W."""
    height = shape[2] if isinstance(shape[2], int) else image.shape[0]
    width = shape[3] if isinstance(shape[3], int) else image.shape[1]
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
    planar = frame.to_ndarray(format="rgb24", width=width, height=height).transpose(2, 0, 1)
    return np.ascontiguousarray(planar[None], dtype=np.float32) / np.float32(255)


def _fits(given: Sequence[int | str | None], expected: Sequence[int | str | None]) -> bool:
    """Whether the shapes agree; a dimension that the model leaves open takes any size."""
    return len(given) == len(expected) and all(
        not isinstance(want, int) or have == want
        for have, want in zip(given, expected, strict=True)
    )
