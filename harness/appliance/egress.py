"""Log egress: an encrypted image of what the appliance knows, onto the USB stick.

A stick that holds the folder `panorama/managed_logs/` when the appliance starts gets the image; the
status LED blinks blue fast meanwhile (vendor's guide; since 4.3.93). It needs neither network nor
registration, which is what it is for. No key and no password is in it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from harness.appliance import stick
from harness.appliance.effect import Clock, Note, Panel, Program, Seal, WriteStick
from harness.appliance.image import version_key
from harness.errors import PeerError

if TYPE_CHECKING:
    from harness.appliance.firmware import Firmware

FOLDER = "panorama/managed_logs/"
SINCE = "4.3.93"
_SECRET = ("certificate", "key", "authority")


def egress(firmware: Firmware) -> Program[None]:
    """Write the image if the stick asks for one."""
    if version_key(firmware.manifest.version) < version_key(SINCE):
        return
    files = yield from stick.look()
    if not any(name.lower().startswith(FOLDER) for name in files):
        return
    yield Panel("status", "blue", "fast")
    written = datetime.fromtimestamp((yield Clock()), UTC)
    name = f"{FOLDER}panorama_device_log_v1_{written:%d_%H_%M}.img"
    image = yield Seal(json.dumps(_state(firmware), sort_keys=True).encode())
    problem = ""
    try:
        yield WriteStick(name, image)
    except PeerError as error:
        problem = str(error)
        yield Panel("status", "red", "fast")
    values = {"file": name, "bytes": len(image), "ok": not problem, "reason": problem}
    yield Note("egress.ended", values)


def _state(firmware: Firmware) -> dict[str, Any]:
    """What support wants to know of an appliance that does not connect."""
    settings = dict(firmware.journal.values)
    device = settings.pop("device", {})
    return {
        "serial": firmware.board.serial,
        "board": firmware.board.name,
        "software": firmware.manifest.version,
        "boot": {"slot": firmware.slot, **firmware.control.describe(firmware.fuses)},
        "device": {name: value for name, value in device.items() if name not in _SECRET},
        "settings": settings,
    }
