"""`harness camera serve`, `list` and `set` as people use them: processes and sockets."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.camera.fleet.cameras import Row
from harness.camera.fleet.verb import VERBS
from harness.cli.app import run
from harness.cli.camera_serve import PASSWORD_VARIABLE, View, credentials, profiles
from harness.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

START_TIMEOUT_S = 15.0
COMMAND = (sys.executable, "-c", "from harness.cli import main; main()", "camera")
SMALL = """\
schema: 1
name: small
width_px: {value: 384, source: "choice: a small picture"}
height_px: {value: 216, source: "choice: a small picture"}
rate_fps: {value: 15, source: "choice: not much to encode"}
gop_frames: {value: 5, source: "choice: readers start soon"}
bitrate_kbps: {value: 200, source: "choice: a small picture"}
clip: {value: 1s, source: "choice: not much to encode"}
path: /{camera}/main
"""


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A folder with a short path: Unix domain sockets allow 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="hil-") as folder:
        yield Path(folder)


@pytest.fixture
def home(tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a camera profile, and the cache."""
    folder = tmp_path / "device_profiles/cameras"
    folder.mkdir(parents=True)
    (folder / "small.yaml").write_text(SMALL, encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    return tmp_path


@contextlib.contextmanager
def serving(home: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`harness camera serve small ...` in a process, which is gone afterwards."""
    process = subprocess.Popen(
        [*COMMAND, "serve", str(home / "device_profiles/cameras/small.yaml"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=home,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def raw(process: subprocess.Popen[str]) -> str:
    """The next line; what it said on stderr where it ended instead."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    return line


def lines(process: subprocess.Popen[str], count: int) -> list[str]:
    return [raw(process).strip() for _ in range(count)]


def ask(url: str) -> str:
    """Status line of OPTIONS, by plain socket."""
    host, port = url.removeprefix("rtsp://").partition("/")[0].split(":")
    with socket.create_connection((host, int(port)), timeout=10) as asking:
        asking.sendall(f"DESCRIBE {url} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
        return asking.recv(4096).decode().split("\r\n")[0]


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8")
    return [int(child) for child in listed.split()]


def gone(pid: int) -> bool:
    """Whether the process has ended, within bounds; a zombie has."""
    end_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end_s:
        try:
            state = (
                Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
            )
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_serve_until_told_to_stop(
    home: Path, runtime: Path, ending: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(home, "--count", "2", "--port", "0") as process:
        urls = lines(process, 2)
        assert all(re.fullmatch(r"rtsp://127\.0\.0\.1:\d+/small-[12]/main", url) for url in urls)
        assert ask(urls[0]) == "RTSP/1.0 200 OK"
        assert run(["camera", "list"]) == 0
        listed = capsys.readouterr().out.splitlines()
        assert [line.split()[:2] for line in listed] == [
            ["small-1", "online"],
            ["small-2", "online"],
        ]
        assert [line.split()[-1] for line in listed] == urls
        assert run(["camera", "set", "small-2", "offline"]) == 0
        assert capsys.readouterr().out.startswith("small-2  offline")
        with pytest.raises(ConnectionResetError):
            ask(urls[1])
        assert run(["camera", "set", "small-2", "online", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["camera"]["state"] == "online"
        assert ask(urls[1]) == "RTSP/1.0 200 OK"
        assert run(["camera", "set", "small-1", "not-found"]) == 0
        assert run(["camera", "set", "small-1", "jitter", "most_s=0.5", "seed=4"]) == 0
        assert capsys.readouterr().out.splitlines()[1].endswith("  not-found,jitter")
        assert ask(urls[0]) == "RTSP/1.0 404 Not Found"
        assert run(["camera", "set", "small-1", "jitter", "most_s=31"]) == 2
        assert "0.001 to 30 s" in capsys.readouterr().err
        assert run(["camera", "set", "small-1", "heal"]) == 0
        assert ask(urls[0]) == "RTSP/1.0 200 OK"
        process.send_signal(ending)
        out, err = process.communicate(timeout=START_TIMEOUT_S)
        assert process.returncode == 0
        assert out == ""
        assert "serving 2 cameras until Ctrl-C; control socket: " in err
        assert "2 cameras, 0 readers" in err
        assert err.endswith("stopped\n")
        assert "Traceback" not in err
    assert list(runtime.rglob("*.sock")) == []
    with pytest.raises(ConnectionRefusedError):
        ask(urls[0])
    assert run(["camera", "list"]) == 2
    assert "no cameras run" in capsys.readouterr().err


def test_workers_end_with_their_parent_however_it_ends(home: Path) -> None:
    with serving(home, "--count", "3", "--port", "0", "--workers", "2", "--json") as process:
        value = json.loads("".join(iter(lambda: raw(process), "}\n")) + "}")
        assert value["schema"] == 1
        assert [camera["name"] for camera in value["cameras"]] == [f"small-{n}" for n in (1, 2, 3)]
        assert all(ask(camera["url"]) == "RTSP/1.0 200 OK" for camera in value["cameras"])
        workers = children(process.pid)
        assert len(workers) == 2
        process.kill()
        process.wait(timeout=START_TIMEOUT_S)
        assert all(gone(worker) for worker in workers)
        for camera in value["cameras"]:
            with pytest.raises(ConnectionRefusedError):
                ask(camera["url"])


def test_ctrl_c_reaches_the_whole_group(home: Path) -> None:
    """A terminal signals parent and workers alike; the parent decides."""
    with serving(home, "--count", "2", "--port", "0", "--workers", "2") as process:
        lines(process, 2)
        workers = children(process.pid)
        for pid in (*workers, process.pid):
            os.kill(pid, signal.SIGINT)
        _, err = process.communicate(timeout=START_TIMEOUT_S)
        assert process.returncode == 0, err
        assert all(gone(worker) for worker in workers)


def test_credentials_are_asked_for_and_not_shown(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "s3cret")
    with serving(home, "--port", "0", "--user", "viewer") as process:
        (url,) = lines(process, 1)
        assert ask(url) == "RTSP/1.0 401 Unauthorized"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=START_TIMEOUT_S)
        assert "s3cret" not in url + err


def test_a_host_outside_is_warned_of(home: Path) -> None:
    with serving(home, "--port", "0", "--host", "0.0.0.0") as process:
        (url,) = lines(process, 1)
        assert ask(url.replace("0.0.0.0", "127.0.0.1")) == "RTSP/1.0 200 OK"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=START_TIMEOUT_S)
        assert "warning: others can reach 0.0.0.0" in err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["serve"], 2, "Missing argument"),
        (["serve", "generic-360p16"], 2, "did you mean `generic-360p15`?"),
        (["serve", "none.yaml"], 2, "cannot read the file"),
        (["serve", "generic-360p15", "--count", "0"], 2, "0 is not in the range"),
        (["serve", "generic-360p15", "--addresses", "--port", "0"], 2, "without a port"),
        (["serve", "generic-360p15", "--host", "localhost"], 2, "host localhost"),
        (["serve", "generic-360p15", "--user", "x"], 2, "without a password"),
        (["serve", "generic-360p15", "--user", ":x"], 2, "--user without a name"),
        (["serve", "generic-360p15", "--video", "none.mp4"], 2, "none.mp4"),
        (["list"], 2, "no cameras run"),
        (["list", "--control", "none.sock"], 2, "no cameras answer at none.sock"),
        (["set", "x"], 2, "Missing argument"),
        (["set", "x", "stall", "much"], 2, "`much` is not a parameter"),
    ],
)
def test_wrong_use(
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(home)
    assert run(["camera", *arguments]) == code
    out, err = capsys.readouterr()
    assert message in err
    assert out == ""
    assert "Traceback" not in err


def test_verbs_are_listed_with_their_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["camera", "verbs"]) == 0
    out = capsys.readouterr().out
    assert "loss            packets of the video are lost" in out
    assert "    rate [0.05]: share of packets; a number, 0 to 1\n" in out
    assert run(["camera", "verbs", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["schema"] == 1
    assert value["verbs"].keys() == VERBS.keys()
    assert value["verbs"]["codec"]["parameters"]["codec"]["range"] == "one of h265, mjpeg"


def test_profiles_by_name_and_by_file(home: Path) -> None:
    path = home / "device_profiles/cameras/small.yaml"
    found = profiles(["small", str(path), "generic-720p30"], home)
    assert [profile.name for profile in found] == ["small", "small", "generic-720p30"]


def test_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    assert credentials(None) == ("", "")
    assert credentials("u:p:q") == ("u", "p:q")
    monkeypatch.setenv(PASSWORD_VARIABLE, "from there")
    assert credentials("u") == ("u", "from there")
    monkeypatch.delenv(PASSWORD_VARIABLE)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(InputError, match="without a password"):
        credentials("u")


def row(state: str, readers: int, frames: int) -> Row:
    return Row("a", "small", "rtsp://h/a", {}, state, readers, readers, frames, 0, 0, [])


def test_the_view_on_a_pipe_says_what_changed() -> None:
    out = io.StringIO()
    view = View(out)
    view.show((row("online", 0, 0), row("online", 0, 0)), 10.0)
    view.show((row("online", 0, 0), row("online", 0, 0)), 11.0)
    view.show((row("online", 1, 30), row("offline", 0, 0)), 13.0)
    view.end()
    assert out.getvalue().splitlines() == [
        "2 cameras, 0 readers, 0 sessions, 0 frames, 0/s",
        "2 cameras, 1 offline, 1 readers, 1 sessions, 30 frames, 15/s",
    ]


def test_the_view_on_a_terminal_rewrites_its_line() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    view = View(out)
    view.show((row("online", 1, 0),), 10.0)
    view.show((row("online", 1, 30),), 11.0)
    view.end()
    assert out.getvalue().count("\r") == 2
    assert out.getvalue().endswith("30 frames, 30/s\x1b[K\n")
