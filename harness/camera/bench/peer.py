"""Other RTSP servers in the same bench: same clip, same cores, same reader, where installed.

gst-rtsp-server stands for separate cameras: one factory each, shared by no two readers, which
packetises the same H.264 without encoding it anew. VLC has one stream for all of its readers,
less than separate cameras ask for, and no TCP.
"""

from __future__ import annotations

import functools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from harness.camera.bench.level import Serving, measure_level
from harness.camera.bench.search import attempt, search, summary
from harness.camera.bench.station import Sample
from harness.camera.wire.rtsp import Request
from harness.errors import CapabilityMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from harness.camera.bench.level import Terms
    from harness.camera.picture.clip import Clip

FILE_S = 120.0  # of video, longer than any session of the bench
START_TIMEOUT_S = 20.0
ANSWER_TIMEOUT_S = 2.0
PROBE_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0
SETTLE_S = 5.0  # who follows RFC 3550, 6.3 sends the first report after up to four seconds
CONNECT_SECONDS_MAX = 30.0
MODE_SECONDS_MAX = 60.0  # then no further level is begun
LEVEL_MAX = 3000
NOBODY = 65_534
SYSTEM_PYTHON = "/usr/bin/python3"
_PROBE = "import gi; gi.require_version('GstRtspServer', '1.0')"


@dataclass(frozen=True, slots=True)
class Peer:
    """A server to compare with. `expected` says by transport where the search begins.

    `find` gives the program, None where it is not installed; `command` is how that program serves
    a file as so many cameras at a port.
    """

    name: str
    package: str
    separate_cameras: bool
    expected: Mapping[str, int]
    path: str
    track: str
    find: Callable[[], str | None]
    command: Callable[[str, Path, int, int], list[str]]
    refuses_root: bool = False


def measure_peer(peer: Peer, clip: Clip, terms: Terms) -> dict[str, Any]:
    """Its levels by transport; `missing` says why there are none."""
    program = peer.find()
    if program is None:
        return {"missing": f"not installed: {peer.package}"}
    with tempfile.TemporaryDirectory(prefix="hil-peer-") as folder:
        os.chmod(folder, 0o755)  # some peers run as another user
        file = Path(folder) / "clip.mkv"
        write_matroska(clip, file, FILE_S)
        modes = {
            transport: _measure_mode(peer, transport, program, file, terms)
            for transport in peer.expected
        }
    return {"separate_cameras": peer.separate_cameras, "modes": modes}


def _measure_mode(
    peer: Peer, transport: str, program: str, file: Path, terms: Terms
) -> dict[str, Any]:
    def measure(count: int) -> dict[str, Any]:
        with running(peer, program, file, count, terms.server_core) as serving:
            return measure_level(serving, count, terms, udp=transport == "udp")

    if terms.levels:
        return summary([level for count in terms.levels for level in attempt(measure, count)])
    until_s = time.monotonic() + MODE_SECONDS_MAX
    return summary(search(measure, peer.expected[transport], LEVEL_MAX, until_s))


@contextmanager
def running(peer: Peer, program: str, file: Path, count: int, core: int) -> Iterator[Serving]:
    """The server with `count` cameras, on `core`; it is gone when the block is left."""
    port = _free_port()
    user = NOBODY if peer.refuses_root and os.geteuid() == 0 else None
    with _process(peer.command(program, file, count, port), core, user) as process:
        url = f"rtsp://127.0.0.1:{port}{peer.path.format(0)}"
        _await_stream(process, url, port, peer.name)
        sample = functools.partial(_sample, psutil.Process(process.pid))
        yield Serving(
            port=port,
            pid=process.pid,
            sample=sample,
            path=peer.path,
            track=peer.track,
            idle_rss_kb=sample().rss_kb,
            connect_s_max=CONNECT_SECONDS_MAX,
            settle_s=SETTLE_S,
        )


def write_matroska(clip: Clip, file: Path, seconds: float) -> None:
    """The clip's H.264 as it is, over and over for `seconds`."""
    import av  # where a peer is measured only

    spec = clip.spec
    with av.open(str(file), "w") as container:
        stream = container.add_stream("h264", rate=spec.rate)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = spec.width_px, spec.height_px
        sets = [nal for nal in clip.access_units[0].nals if nal[0] & 0x1F in (7, 8)]  # SPS, PPS
        stream.codec_context.extradata = b"".join(b"\0\0\0\1" + nal for nal in sets)
        for number in range(round(seconds * clip.fps)):
            unit = clip.access_units[number % len(clip.access_units)]
            packet = av.Packet(b"".join(b"\0\0\0\1" + nal for nal in unit.nals))
            packet.stream, packet.time_base = stream, Fraction(1) / spec.rate
            packet.pts = packet.dts = number
            packet.is_keyframe = unit.key
            container.mux(packet)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def _process(command: list[str], core: int, user: int | None) -> Iterator[subprocess.Popen[bytes]]:
    """A process on `core`, which its threads inherit; ended, if need be killed, afterwards."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=user,
            group=user,
            extra_groups=None if user is None else (),
            env={"HOME": "/nonexistent", "PATH": os.environ.get("PATH", os.defpath)},
        )
    finally:
        os.sched_setaffinity(0, before)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_stream(process: subprocess.Popen[bytes], url: str, port: int, name: str) -> None:
    until_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until_s and process.poll() is None:
        with suppress(OSError):
            if _describes(url, port):
                return
        time.sleep(0.1)
    raise CapabilityMissing(
        f"{name} did not begin to serve",
        hint=f"it ended with {process.poll()}; start it by hand to see why",
    )


def _describes(url: str, port: int) -> bool:
    headers = (("CSeq", "1"), ("Accept", "application/sdp"))
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_TIMEOUT_S) as sock:
        sock.sendall(Request(headers, method="DESCRIBE", uri=url).to_bytes())
        return sock.recv(64).startswith(b"RTSP/1.0 200")


def _sample(process: psutil.Process) -> Sample:
    times = process.cpu_times()
    return Sample(times.user + times.system, process.memory_info().rss // 1024)


# --- those that are known -------------------------------------------------------------------------


def find_gst() -> str | None:
    """A Python that has the bindings of gst-rtsp-server: usually the system's."""
    for python in dict.fromkeys((SYSTEM_PYTHON, shutil.which("python3"), sys.executable)):
        if python is None or not os.access(python, os.X_OK):
            continue
        with suppress(OSError, subprocess.TimeoutExpired):
            probe = [python, "-c", _PROBE]
            done = subprocess.run(probe, capture_output=True, timeout=PROBE_TIMEOUT_S, check=False)
            if done.returncode == 0:
                return python
    return None


def gst_command(python: str, file: Path, count: int, port: int) -> list[str]:
    script = Path(__file__).with_name("gst_peer.py")
    return [python, str(script), str(file), str(count), str(port)]


def vlc_command(program: str, file: Path, _count: int, port: int) -> list[str]:
    out = f"#rtp{{sdp=rtsp://127.0.0.1:{port}/camera}}"
    options = ["--intf=dummy", "--quiet", "--sout-keep", f"--sout={out}"]
    return [program, *options, file.as_uri()]


GST = Peer(
    name="gst-rtsp-server",
    package="gir1.2-gst-rtsp-server-1.0, python3-gi",
    separate_cameras=True,
    expected={"tcp": 280, "udp": 300},
    path="/camera-{}",
    track="stream=0",
    find=find_gst,
    command=gst_command,
)
VLC = Peer(
    name="vlc",
    package="vlc-bin, vlc-plugin-base",
    separate_cameras=False,
    expected={"udp": 200},
    path="/camera",
    track="trackID=0",
    find=functools.partial(shutil.which, "vlc"),
    command=vlc_command,
    refuses_root=True,
)
PEERS = (GST, VLC)
