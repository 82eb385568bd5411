"""gst-rtsp-server with separate cameras: run by the system's Python, which has its bindings.

    python3 gst_peer.py FILE COUNT PORT

Every path `/camera-N` has a factory of its own, shared by no two readers, which demultiplexes the
H.264 of a Matroska file and packetises it without encoding it anew. Runs until it is ended.
"""

from __future__ import annotations

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 - a version is to be chosen before

LAUNCH = "( filesrc location={} ! matroskademux ! h264parse ! rtph264pay name=pay0 pt=96 mtu=1400 )"
BACKLOG = 512


def main(file: str, count: int, port: str) -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer(service=port, address="127.0.0.1", backlog=BACKLOG)
    server.get_session_pool().set_max_sessions(0)  # as many as come
    mounts = server.get_mount_points()
    for number in range(count):
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(LAUNCH.format(file))
        factory.set_shared(False)
        mounts.add_factory(f"/camera-{number}", factory)
    server.attach(None)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
