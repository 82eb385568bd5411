"""Mosquitto's files: where the program is, how it is configured, what each line of its log means.

Identity is the certificate's: its common name is user name and client id, whatever the client
says, and the patterns of the access list give it the topics of that thing alone. One client, the
plane's own, may read and write all of them.
"""

from __future__ import annotations

import getpass
import os
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.cloud.front.gate import MESSAGE_BYTES_MAX
from harness.cloud.front.tls import CIPHERS
from harness.errors import CapabilityMissing

if TYPE_CHECKING:
    from pathlib import Path

PLANE = "harness-control-plane"  # the plane's own client; no thing is called so
FENCE = "harness/fence"
HEADER_BYTES_MAX = 4096
QUEUED_MAX = 100_000  # messages waiting for one client; the plane is one, too
KEEP_ALIVE_S_MAX = 1200  # as AWS IoT Core

_PLACES = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")

_UP = re.compile(r"New client connected from (\S+):(\d+) as (\S+) ")
_DOWN = re.compile(
    r"(?:Client (\S+) (?:\[\S+\] )?(?:closed its|disconnected|has exceeded|been disconnected)"
    r"|Bad socket read/write on client (\S+):)"
)
_RUNNING = re.compile(r"mosquitto version \S+ running")


@dataclass(frozen=True, slots=True)
class Up:
    """A client has connected, from `port` of the machine it is on."""

    client_id: str
    port: int


@dataclass(frozen=True, slots=True)
class Down:
    """The connection of a client has ended; one that another took the place of is not told."""

    client_id: str


class Running:
    """The broker listens."""


def meaning(line: str) -> Up | Down | Running | None:
    """What a line of the log says; None when it says nothing of clients."""
    up = _UP.search(line)
    if up:
        return Up(up[3], int(up[2]))
    down = _DOWN.search(line)
    if down:
        return Down((down[1] or down[2]).rstrip("."))
    return Running() if _RUNNING.search(line) else None


def program() -> str:
    """The path of mosquitto. Raises `CapabilityMissing` when it is not installed."""
    places = os.pathsep.join((os.environ.get("PATH", os.defpath), *_PLACES))
    found = shutil.which("mosquitto", path=places)
    if found is None:
        raise CapabilityMissing(
            "mosquitto is not installed",
            hint="on Debian and Ubuntu: apt install mosquitto; or use the embedded broker",
        )
    return found


def configuration(directory: Path, host: str, port: int) -> str:
    """mosquitto.conf: everything in `directory`, nothing else is read or written."""
    return f"""\
user {getpass.getuser()}
log_dest stderr
log_timestamp false
log_type error
log_type warning
log_type notice
log_type information
connection_messages true
sys_interval 0
persistence false
allow_anonymous false
acl_file {directory}/acl
retain_available false
max_queued_messages {QUEUED_MAX}
max_inflight_messages 0
max_packet_size {MESSAGE_BYTES_MAX + HEADER_BYTES_MAX}
max_keepalive {KEEP_ALIVE_S_MAX}
set_tcp_nodelay true
listener {port} {host}
cafile {directory}/ca.pem
certfile {directory}/server.cert.pem
keyfile {directory}/server.key.pem
crlfile {directory}/revoked.pem
require_certificate true
use_identity_as_username true
use_username_as_clientid true
tls_version tlsv1.2
ciphers {CIPHERS}
max_qos 1
"""


ACCESS = f"""\
user {PLANE}
topic readwrite $aws/things/#
topic readwrite {FENCE}/#

pattern readwrite $aws/things/%u/#
"""
