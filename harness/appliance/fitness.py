"""Whether an image may be installed here, asked before a byte of it is written.

`refuse` answers from what the vendor signed; the others ask the appliance itself: whether the
slots can do their part, and whether everything can be reached that the release will need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.appliance import boot_control, image
from harness.appliance.boot_control import other
from harness.appliance.effect import Note, Program, Reach, Read, Sleep, Sync, Write
from harness.appliance.storage import SLOT_PARTITION
from harness.errors import LinkDown, PeerRefused, PeerTimeout, StorageReadOnly

if TYPE_CHECKING:
    from harness.appliance.catalogue import Offer
    from harness.appliance.firmware import Board, Firmware

LAST_WITHOUT_RETURN = 8  # from 8.0.29 on no image before 8 can be installed (vendor's guide, 2024)
REACH_TRIES = 3
REACH_AGAIN_S = 15.0
_PROBE_BYTES = 4


def refuse_version(current: str, target: str, *, allow_major: bool) -> None:
    """What the versions alone forbid. Raises `PeerRefused`."""
    if current == target:
        raise PeerRefused(f"version {target} is installed already")
    major, now = image.version_key(target)[0], image.version_key(current)[0]
    if major > now and not allow_major:
        raise PeerRefused(
            f"{current} to {target} crosses a major version", hint="set AllowMajorVersionUpdate"
        )
    if now >= LAST_WITHOUT_RETURN > major:
        raise PeerRefused(
            f"{current} to {target}: there is no way back below {LAST_WITHOUT_RETURN}"
        )


def refuse(offer: Offer, board: Board, fuses: int, current: str) -> None:
    """What the vendor's word on the image forbids. Raises `PeerRefused`, `Corrupt`."""
    release = offer.release
    if release.kind == "recalled":
        raise PeerRefused(f"image {release.version} was recalled")
    image.refuse_unfit(release, board.name, fuses)
    least = release.minimum_version
    if least and image.version_key(current) < image.version_key(least):
        raise PeerRefused(
            f"{current} to {release.version}: may be installed from {least} on",
            hint=f"install {least} first",
        )
    size = image.PAYLOAD_AT + offer.payload.size_bytes
    if size > board.slot_bytes:
        raise PeerRefused(f"image {release.version}: {size} bytes, a slot has {board.slot_bytes}")


def refuse_unready(firmware: Firmware, job: str) -> Program[None]:
    """Whether the slots are as an update needs them; what is found is noted, `ota.readiness`.

    Asked is what the next boot will read, whatever this one believes. The running slot is the
    way back: without it committed and active an update would burn the bridge. The other slot has
    to take writes. That it could not boot now is worth a word, not a refusal: writing it mends
    that. Raises `PeerRefused`, `StorageReadOnly`.
    """
    control, slot = (yield from boot_control.load()), firmware.slot
    problem = ""
    if not control.slot(slot).successful:
        problem = f"slot {slot} runs on trial and is not committed"
    elif control.active != slot:
        problem = f"slot {slot} runs, but {control.active} is the one to boot"
    spare = other(slot)
    values = {"job": job, "way_back": not problem, "spare_boots": control.slot(spare).may_boot}
    yield Note("ota.readiness", {**values, "reason": problem})
    if problem:
        raise PeerRefused(f"redundancy is not armed: {problem}")
    partition = SLOT_PARTITION[spare]
    # The same bytes again: only whether it takes them is asked.
    there = yield Read(partition, 0, _PROBE_BYTES)
    yield Write(partition, 0, there)
    yield Sync(partition)


def refuse_unarmed(slot: str) -> Program[None]:
    """Whether the next boot will try `slot`, asked while there is no need for it to find out."""
    control = yield from boot_control.load()
    if control.choose() != slot:
        raise StorageReadOnly(
            f"redundancy is not armed: slot {slot} was written, and boot control did not take it"
        )


def refuse_unreachable(version: str, endpoints: tuple[str, ...]) -> Program[None]:
    """Raise `PeerRefused` unless every endpoint answers, in one of a few tries."""
    missing: dict[str, str] = dict.fromkeys(endpoints, "")
    for number in range(REACH_TRIES):
        if number:
            yield Sleep(REACH_AGAIN_S)
        for endpoint in tuple(missing):
            try:
                yield Reach(endpoint)
                del missing[endpoint]
            except (LinkDown, PeerTimeout) as problem:
                missing[endpoint] = str(problem)
        if not missing:
            return
    raise PeerRefused(
        f"image {version} needs endpoints that cannot be reached from here: "
        + "; ".join(missing.values()),
        hint="open them in the firewall first",
    )
