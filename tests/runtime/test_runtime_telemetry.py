"""Messages, the pipe they go through, the console log and the spec that an application gets."""

from __future__ import annotations

import json
import os
import queue
import tempfile
import threading
from typing import TYPE_CHECKING, Any

import pytest

from harness.errors import Corrupt, InputError
from harness.runtime import control
from harness.runtime.console import Console
from harness.runtime.emitter import MESSAGES_MAX, Emitter
from harness.runtime.inference import Model
from harness.runtime.session import open_session
from harness.runtime.spec import ApplicationSpec, CameraInput, ModelFile, read_inherited
from harness.runtime.telemetry import (
    CameraConnected,
    CameraLost,
    CameraPaused,
    Counts,
    CredentialsMissing,
    Frame,
    Inference,
    Message,
    Started,
    Stopped,
    Trouble,
    format_message,
    parse,
)

if TYPE_CHECKING:
    from collections.abc import Set
    from pathlib import Path

MESSAGES: list[Message] = [
    Started(1, 2.0),
    CameraConnected("door", 1, 2.0, "udp"),
    CameraLost("door", 1, 2.0, "line"),
    CameraPaused("door", 1, 2.0),
    CredentialsMissing("door", 2.0),
    Frame("door", 1, 7, 8, 9, 1.0, 2.0, 3.0, (("person", 0.1, 0.2, 0.3, 0.4, 0.9),)),
    Frame("door", 1, None, None, None, 1.0, 2.0, None, ()),
    Inference("detector", 1.0, 5.5),
    Counts("door", 1, 4, 4, 3, 1, 0, 0, 2),
    Trouble("door", "frames-lost", 2.0, 3, over=True, lasted_s=1.5),
    Stopped(1.0, "asked", 0),
]


@pytest.mark.parametrize("message", MESSAGES)
def test_messages_survive_the_way(message: Message) -> None:
    line = format_message(message)
    assert line.endswith(b"\n")
    assert parse(json.loads(line)) == message


@pytest.mark.parametrize("values", [{}, {"kind": "Nothing"}, {"kind": "Started", "pid": 1}])
def test_what_is_no_message_is_corrupt(values: dict[str, Any]) -> None:
    with pytest.raises(Corrupt, match="telemetry"):
        parse(values)


class Pipe:
    """An emitter with both of its pipes in our hands."""

    def __init__(self) -> None:
        self.read_fd, write_fd = os.pipe()
        control_fd, self.control = os.pipe()
        self.fds = [self.read_fd, write_fd, control_fd]
        self.closed = threading.Event()
        self.paused: queue.SimpleQueue[Set[str]] = queue.SimpleQueue()
        self.logins: queue.SimpleQueue[control.Login] = queue.SimpleQueue()
        self.rates: queue.SimpleQueue[float] = queue.SimpleQueue()
        self.paces: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.orphaned = threading.Event()
        self.emitter = Emitter(
            write_fd,
            control_fd,
            settle=lambda: None,
            close_sources=self.closed.set,
            pause=self.paused.put,
            login=self.logins.put,
            show=self.rates.put,
            pace=self.paces.put,
            on_orphaned=self.orphaned.set,
        )

    def lines(self, count: int) -> list[dict[str, Any]]:
        data = b""
        while data.count(b"\n") < count:
            data += os.read(self.read_fd, 65536)
        return [json.loads(line) for line in data.splitlines()]

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)


def test_an_asked_stop_closes_the_cameras_and_sends_everything() -> None:
    pipe = Pipe()
    pipe.emitter.start()
    pipe.emitter.emit(Started(1, 2.0))
    os.write(pipe.control, b"stop\n")
    lines = pipe.lines(2)
    assert [line["kind"] for line in lines] == ["Started", "Stopped"]
    assert lines[1]["reason"] == "asked"
    assert pipe.closed.is_set()
    pipe.emitter.end("exit")  # nothing more: it ended already
    os.close(pipe.control)
    pipe.close()


def test_cameras_are_paused_by_lines_however_they_arrive() -> None:
    pipe = Pipe()
    pipe.emitter.start()
    line = control.pause(["yard", "door"]) + b"\n"
    os.write(pipe.control, line[:9])
    os.write(pipe.control, line[9:] + b"something new\n" + control.pause([]) + b"\n" + b"sto")
    assert pipe.paused.get(timeout=5) == {"door", "yard"}
    assert pipe.paused.get(timeout=5) == set()
    os.write(pipe.control, b"p\n")
    assert pipe.lines(1)[0]["kind"] == "Stopped"
    os.close(pipe.control)
    pipe.close()


def test_credentials_come_by_lines_and_are_never_shown() -> None:
    pipe = Pipe()
    pipe.emitter.start()
    whole, gone = control.Login("door_node", "root", "p@ss"), control.Login("door_node", None)
    os.write(pipe.control, control.login(whole) + b"\n" + control.login(gone) + b"\n")
    assert pipe.logins.get(timeout=5) == whole
    assert pipe.logins.get(timeout=5) == gone
    assert "p@ss" not in repr(whole)
    os.close(pipe.control)
    pipe.orphaned.wait(5)
    pipe.close()


def test_a_reader_that_does_not_read_costs_the_oldest_messages_and_no_time() -> None:
    pipe = Pipe()
    for number in range(MESSAGES_MAX + 100):
        pipe.emitter.emit(Inference("detector", float(number), 1.0))
    reader = threading.Thread(target=lambda: lines.extend(pipe.lines(MESSAGES_MAX)))
    lines: list[dict[str, Any]] = []
    reader.start()
    pipe.emitter.end("exit")
    reader.join(10)
    assert lines[0]["at_s"] == 101.0  # 100 too many, and one more to make room for the last
    assert (lines[-1]["kind"], lines[-1]["lost"]) == ("Stopped", 100)
    os.close(pipe.control)
    pipe.close()


def test_the_end_of_the_harness_is_noticed() -> None:
    pipe = Pipe()
    pipe.emitter.start()
    os.close(pipe.control)
    assert pipe.orphaned.wait(5)
    pipe.close()


def test_the_console_keeps_the_end_within_its_bound(tmp_path: Path) -> None:
    console = Console(tmp_path / "logs/console_output.log", bytes_max=1000)
    for number in range(200):
        console.write(b"line %d\n" % number)
    console.write(b"unfinished")
    assert console.lines()[-2:] == ("line 199", "unfinished")
    assert len(console.lines()) == 51
    console.close()
    kept = [path.read_text() for path in sorted((tmp_path / "logs").iterdir())]
    assert sum(map(len, kept)) <= 1000
    assert kept[0].endswith("unfinished")
    again = Console(tmp_path / "logs/console_output.log", bytes_max=1000)
    again.write(b"x" * 5000 + b"\xff\n")
    assert again.lines() == ("x" * 4096,)
    again.close()
    assert sum(path.stat().st_size for path in (tmp_path / "logs").iterdir()) <= 1000


def test_the_spec_reaches_the_process_through_an_open_file(tmp_path: Path) -> None:
    spec = ApplicationSpec(
        instance="counter",
        root=tmp_path,
        entry=("python3", "/panorama/application.py"),
        cameras=(CameraInput("node", "video_in", "door", "rtsp://h/door", "root", "pässword"),),
        parameters={"threshold": 0.5, "flag": True, "text": "a", "count": 2},
        models=(ModelFile("detector", tmp_path / "model.onnx", {"mlModelDescriptor": {}}),),
        outputs=("video_out",),
        storage=tmp_path / "storage",
        logs=tmp_path / "logs",
        region="us-east-1",
        inputs=("other_in",),
        displays=("video_out",),
        paces={"detector": (7.5, 100.0)},
        packages=tmp_path / "site",
        paused=("node",),
    )
    with tempfile.TemporaryFile() as file:
        file.write(spec.to_json())
        file.flush()
        assert read_inherited(file.fileno()) == spec
        assert read_inherited(file.fileno()).media_ports == ("other_in", "video_in")


def test_a_model_that_does_not_load_says_so(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"damaged")
    file = ModelFile("detector", tmp_path / "model.onnx", {})
    with pytest.raises(InputError, match=r"model node 'detector': model\.onnx cannot be loaded"):
        open_session(file)
    with pytest.raises(InputError, match="cannot be loaded"):
        Model(file, lambda message: None).run([])


def test_a_model_that_contradicts_its_descriptor_says_so(model_file: ModelFile) -> None:
    wrong = {"mlModelDescriptor": {"inputs": [{"name": "image", "shape": [1, 3, 224, 224]}]}}
    model = Model(ModelFile("detector", model_file.path, wrong), lambda message: None)
    with pytest.raises(InputError, match=r"shape \[1, 3, 224, 224\], but the model takes"):
        model.run([])


def test_inference_that_takes_too_long_times_out(model_file: ModelFile) -> None:
    import numpy as np

    told: list[Message] = []
    model = Model(model_file, told.append)
    zeros = np.zeros((1, 3, 360, 640), np.float32)
    model.run(zeros)
    with pytest.raises(TimeoutError, match="time_out passed"):
        model.run(zeros, 0.0)
    (heat,) = model.run(zeros, 10.0)
    assert heat.shape == (1, 2, 180, 320)
    assert len(told) == 2
