"""Peers: found or named as missing, run on their core, gone afterwards."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import psutil
import pytest

from harness.camera.bench import peer as peer_module
from harness.camera.bench.level import Terms
from harness.camera.bench.peer import GST, VLC, Peer, measure_peer, running, write_matroska
from harness.camera.picture.clip import ClipSpec, load_clip
from harness.errors import CapabilityMissing

if TYPE_CHECKING:
    from pathlib import Path

SMALL = ClipSpec(192, 108, 30.0, 1.0, 10, 100, 1, 1)
LISTEN = """
import os, signal, socket, sys
if "stubborn" in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    while True:
        connection, _ = listener.accept()
        connection.recv(500)
        connection.sendall(b"RTSP/1.0 200 OK\\r\\n\\r\\n")
"""


def terms(cache_dir: Path, levels: tuple[int, ...] = (2,)) -> Terms:
    cores = sorted(os.sched_getaffinity(0))
    return Terms(SMALL, cache_dir, 1.0, levels, cores[0], cores[-1])


def fake(*arguments: str, script: str = LISTEN) -> Peer:
    def command(program: str, _file: Path, _count: int, port: int) -> list[str]:
        return [program, "-c", script, str(port), *arguments]

    return dataclasses.replace(GST, name="fake", find=lambda: sys.executable, command=command)


def test_what_is_not_installed_is_said(cache_dir: Path) -> None:
    clip = load_clip(SMALL, cache_dir)
    missing = dataclasses.replace(GST, find=lambda: None)
    assert measure_peer(missing, clip, terms(cache_dir)) == {
        "missing": f"not installed: {GST.package}"
    }


def test_gst_is_looked_for_with_every_python(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def python(name: str, code: int) -> str:
        file = tmp_path / name
        file.write_text(f"#!/bin/sh\nexit {code}\n")
        file.chmod(0o755)
        return str(file)

    without, has = python("without", 1), python("with", 0)
    monkeypatch.setattr(peer_module, "SYSTEM_PYTHON", without)
    monkeypatch.setattr(shutil, "which", lambda _: has)
    assert peer_module.find_gst() == has
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(sys, "executable", without)
    assert peer_module.find_gst() is None


@pytest.mark.parametrize("arguments", [(), ("stubborn",)])
def test_a_peer_runs_on_its_core_and_is_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setattr(peer_module, "STOP_TIMEOUT_S", 0.5)
    before = os.sched_getaffinity(0)
    core = max(before)
    with running(fake(*arguments), sys.executable, tmp_path / "x", 1, core) as serving:
        assert psutil.Process(serving.pid).cpu_affinity() == [core]
        assert os.sched_getaffinity(0) == before
        assert serving.sample().rss_kb > 1000
        assert serving.idle_rss_kb > 0
    assert not psutil.pid_exists(serving.pid)


def test_a_peer_that_ends_at_once_is_named(tmp_path: Path) -> None:
    peer, core = fake(script="raise SystemExit(3)"), max(os.sched_getaffinity(0))
    with (
        pytest.raises(CapabilityMissing, match="fake did not begin to serve") as caught,
        running(peer, sys.executable, tmp_path / "x", 1, core),
    ):
        raise AssertionError("it runs")
    assert "it ended with 3" in caught.value.hint


def test_the_file_is_the_clip_over_and_over(cache_dir: Path, tmp_path: Path) -> None:
    clip = load_clip(SMALL, cache_dir)
    file = tmp_path / "clip.mkv"
    write_matroska(clip, file, 2.5)
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (192, 108, Fraction(30))
        packets = [packet for packet in container.demux(stream) if packet.pts is not None]
        assert len(packets) == 75
        assert [packet.is_keyframe for packet in packets[:31]] == [
            unit.key for unit in (*clip.access_units, clip.access_units[0])
        ]
    with av.open(str(file)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 75


def test_gst_rtsp_server(cache_dir: Path) -> None:
    """The real thing, two cameras over TCP and two over UDP."""
    if GST.find() is None:
        pytest.skip(f"gst-rtsp-server is not installed: {GST.package}")
    result = measure_peer(GST, load_clip(SMALL, cache_dir), terms(cache_dir))
    json.dumps(result)
    assert result["separate_cameras"] is True
    for mode in ("tcp", "udp"):
        level = result["modes"][mode]["levels"][-1]
        assert level["refused"] == level["lost"] == 0
        assert level["frames"] > 0
        assert level["cpu_us_per_frame"] >= 0  # it is told in hundredths of a second


def test_vlc(cache_dir: Path) -> None:
    if VLC.find() is None:
        pytest.skip(f"VLC is not installed: {VLC.package}")
    result = measure_peer(VLC, load_clip(SMALL, cache_dir), terms(cache_dir))
    level = result["modes"]["udp"]["levels"][-1]
    assert level["refused"] == level["lost"] == 0
    assert level["frames"] > 0
    assert result["separate_cameras"] is False
