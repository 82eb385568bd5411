"""The roads an appliance may be on when power is cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.appliance import image, journal
from harness.appliance.defects import lookup
from harness.engine.sweep.cloud import BOARD, ROOT_KEY, STICK
from harness.engine.sweep.stand import SLOT_BYTES, complete, factory_box, online_box, read_control
from harness.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.engine.sweep.box import Box

OLD, NEW = "6.0.8", "6.2.1"
STEP_BYTES = 1 << 20  # of a download: `effect.Fetch.chunk`
IMAGE_BYTES_MAX = SLOT_BYTES - STEP_BYTES
ASSET_BYTES = 200_000


@dataclass(frozen=True, slots=True)
class Load:
    """What an update brings: an image of `image_bytes` with these defects."""

    image_bytes: int = 8 << 20
    defects: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not STEP_BYTES <= self.image_bytes <= IMAGE_BYTES_MAX:
            raise InputError(
                f"an image of {self.image_bytes} bytes does not fit this road",
                hint=f"from {STEP_BYTES} to {IMAGE_BYTES_MAX} bytes",
            )
        for name in self.defects:
            lookup(name)


@dataclass(frozen=True, slots=True)
class Road:
    """`begin` gives a box that has just been told what to do, `ended` says when it has done it.

    `goal` says what is missing when it was done without a cut. `help` is what a technician would
    do for a box that has settled and cannot go on alone.
    """

    name: str
    summary: str
    begin: Callable[[Load], Box]
    ended: Callable[[Box], bool]
    goal: Callable[[Box, Load], str] = lambda _box, _load: ""
    help: Callable[[Box], None] = lambda _box: None
    versions: tuple[str, ...] = (OLD,)  # what may run when no job says otherwise


def _updating(load: Load) -> Box:
    box = online_box("door", version=OLD)
    offer = box.cloud.offer(NEW, fuse_level=2, size_bytes=load.image_bytes, defects=load.defects)
    box.cloud.order(offer)
    return box


def _updated(box: Box, load: Load) -> str:
    """The new image runs, or the old one when the new one cannot pass its self-test."""
    unfit = any(lookup(name).step == "health_check" for name in load.defects)
    if load.defects and not unfit:
        return ""  # what another defect makes of it is not known here
    return _runs(box, OLD if unfit else NEW)


def _runs(box: Box, version: str) -> str:
    slot, fuses = read_control(box.disk).active, box.disk.fuses
    runs = complete(image.read_slot(slot, ROOT_KEY, BOARD, fuses), box.disk).version
    return "" if runs == version else f"{runs} runs, not {version}"


def _cancelling(load: Load) -> Box:
    """The job is taken back as the device has begun with it."""
    box = online_box("door", version=OLD)
    job = box.cloud.order(box.cloud.offer(NEW, size_bytes=load.image_bytes))
    box.run(lambda: bool(box.noted("ota.phase")))
    box.cloud.cancel(job)
    return box


def _cancelled(box: Box) -> bool:
    return bool(box.noted("ota.ended")) and _job_ended(box)


def _rebooting(_load: Load) -> Box:
    box = online_box("door", version=OLD)
    box.cloud.order({"operation": "REBOOT"})
    return box


def _deploying(_load: Load) -> Box:
    box = online_box("door", version=OLD)
    box.cloud.deploy("hall", {"code": b"code of hall", "model": bytes(ASSET_BYTES)})
    return box


def _removing(_load: Load) -> Box:
    box = online_box("door", "hall", version=OLD)
    box.cloud.remove("hall")
    return box


def _signalling(_load: Load) -> Box:
    box = online_box("door", version=OLD)
    box.cloud.pause("door", "front", "yard")
    return box


def _provisioning(_load: Load) -> Box:
    box = factory_box(OLD)
    box.stick = STICK.copy()
    box.power_up()
    return box


def _shutting_down(_load: Load) -> Box:
    box = online_box("door", version=OLD)
    box.press("power")
    return box


def _off(box: Box) -> bool:
    return not box.powered


def _pressed(*buttons: str, held_s: float) -> Callable[[Load], Box]:
    """An updated appliance, off, whose buttons are held as it powers on."""

    def begin(load: Load) -> Box:
        box = online_box("door", version=OLD)
        box.cloud.order(box.cloud.offer(NEW, size_bytes=load.image_bytes))
        box.run(lambda: _job_ended(box))
        box.run(for_s=60.0)
        box.press("power")
        box.run(lambda: not box.powered)
        box.cloud.jobs.clear()  # a restore answers to no job
        box.press(*buttons, held_s=held_s)
        return box

    return begin


def _restored(box: Box) -> bool:
    """Back online, or without any settings and waiting for a stick."""
    blank = ("appliance.state", {"state": "provisioning"}) in box.notes
    return bool(box.noted("restore.ended")) and (box.online or blank) and box.idle


def _has_restored(version: str) -> Callable[[Box, Load], str]:
    def goal(box: Box, _load: Load) -> str:
        restored = box.noted("restore.ended")
        if len(restored) != 1 or not restored[0]["ok"]:
            return f"restored {len(restored)} times, the last one {restored[-1]['ok']}"
        return _runs(box, version)

    return goal


def _has_reset(box: Box, load: Load) -> str:
    kept = sorted(complete(journal.load(), box.disk).values)
    return f"kept are {', '.join(kept)}" if kept else _has_restored(OLD)(box, load)


def _job_ended(box: Box) -> bool:
    """And the box has come to rest: a job may be told to have ended before it has."""
    return (
        box.online
        and box.idle
        and all(
            job["status"] in ("SUCCEEDED", "FAILED", "CANCELED") for job in box.cloud.jobs.values()
        )
    )


def _as_desired(box: Box) -> bool:
    told = {name for name, status in box.cloud.reported.items() if status["status"] == "RUNNING"}
    wanted = {name for name, state in box.cloud.desired.items() if state["state"] == "RUNNING"}
    return box.idle and told == wanted == set(box.nodes)


def _as_signalled(box: Box) -> bool:
    told = box.cloud.reported["door"].get("nodes", {})
    return _as_desired(box) and set(told) == {"front", "yard"}


def _another_archive(box: Box) -> None:
    """The claim of an archive is good for one registration, whatever became of its outcome."""
    if not box.online and box.cloud.claims_spent:
        box.cloud.claims_spent.clear()
        box.plug(STICK)
        box.run(for_s=3600.0)


ROADS: Mapping[str, Road] = {
    road.name: road
    for road in (
        Road("ota", "an update over the air", _updating, _job_ended, _updated),
        Road(
            "cancel",
            "an update that is cancelled as it comes",
            _cancelling,
            _cancelled,
            lambda box, _load: _runs(box, OLD),
        ),
        Road("reboot", "a reboot by job: an orderly shutdown", _rebooting, _job_ended),
        Road("deploy", "an application is installed beside another", _deploying, _as_desired),
        Road("remove", "one application of two is removed", _removing, _as_desired),
        Road("signal", "cameras of an application are paused", _signalling, _as_signalled),
        Road(
            "provision",
            "from the factory to the first connection",
            _provisioning,
            lambda box: box.online and box.idle,
            help=_another_archive,
        ),
        Road("shutdown", "a press of the power button", _shutting_down, _off),
        Road(
            "restore-latest",
            "a short press of reset: the latest software again",
            _pressed("reset", held_s=1.0),
            _restored,
            _has_restored(NEW),
            versions=(NEW,),
        ),
        Road(
            "restore-required",
            "a long press of reset: the latest required software",
            _pressed("reset", held_s=5.0),
            _restored,
            _has_restored(OLD),
            versions=(NEW, OLD),
        ),
        Road(
            "factory-reset",
            "a long press of both buttons: required software, everything erased",
            _pressed("power", "reset", held_s=5.0),
            _restored,
            _has_reset,
            _another_archive,
            versions=(NEW, OLD),
        ),
    )
}


def road(name: str) -> Road:
    try:
        return ROADS[name]
    except KeyError:
        raise InputError(f"unknown road {name!r}", hint=f"one of {', '.join(ROADS)}") from None
