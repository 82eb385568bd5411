"""How fast the model rung is: effects a second, and fleets of appliances in virtual days.

Absolute times mean little on a shared machine, so a bare simpy loop (one timeout a heartbeat,
what a naive model would do) is timed in the same run as the peer to compare with.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import random
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import simpy

from harness.appliance.effect import StartNode
from harness.cloud.service.core import Settings
from harness.engine.factory import catalogue
from harness.engine.model.cloud import Cloud
from harness.engine.model.machine import EPOCH_S, Machine
from harness.engine.model.video import Nodes
from harness.engine.stick import with_archive
from harness.errors import InputError
from harness.scenario import ProfileLibrary, appliance_profile, camera_profile
from harness.scenario.plan import AppliancePlan, CameraPlan, ImagePlan
from harness.scenario.seed import derive

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.jetson.profile import Profile

SEED = 1
DAY_S = 86_400.0
PROFILE = "panorama-appliance"
IMAGE_BYTES = 1 << 30
REBOOTS = 300
RECONNECTS_A_DAY = 2
HEARTBEAT_S = 30.0
CAMERA, CAMERAS, FRAMES_SPAN_S = "generic-720p30", 8, 3600.0


@dataclass(slots=True)
class Counter:
    """The cheapest probe: counts events and remembers nothing."""

    events: int = 0

    def note(self, _source: str, _kind: str, _values: Mapping[str, Any]) -> None:
        self.events += 1


class Fleet:
    """`count` appliances in one environment, provisioned and online."""

    def __init__(self, count: int, cameras: tuple[CameraPlan, ...] = ()) -> None:
        profile = _profile()
        self.env = simpy.Environment()
        self.counter = Counter()
        self.cloud = Cloud(self.env, self.counter.note, SEED, Settings())
        draw = random.Random(SEED)
        self.nodes = nodes = Nodes(self.env, cameras, self.counter.note, draw, str, {})
        image = ImagePlan("6.2.2", (), IMAGE_BYTES, profile.fuse_level, SEED)
        offered = catalogue([image], [profile.board], SEED, EPOCH_S, virtual=True)
        for version, signed, payload in offered.images:
            self.cloud.plane.publish_image(version, signed, payload)
        self.cloud.plane.publish_metadata(offered.metadata)
        self.machines: list[Machine] = []
        self.devices: list[str] = []
        for number in range(count):
            name = f"a{number}"
            plan = AppliancePlan(name, profile, "6.2.1", derive(SEED, name))
            draw = random.Random(plan.seed)
            machine = Machine(plan, self.env, self.cloud, nodes, self.counter.note, draw, SEED)
            self.machines.append(machine)
            machine.power_up()
            answer = self.cloud.plane.call("ProvisionDevice", {"Name": name})
            self.devices.append(answer["DeviceId"])
            machine.plug(with_archive(name, answer["Certificates"]))
        self.env.run(until=600.0)

    def effects(self) -> int:
        return sum(machine.effects for machine in self.machines)

    def call_at(self, when_s: float, number: int, job: Mapping[str, Any]) -> None:
        """Have the control plane give a job to appliance `number`."""

        def act(_event: object) -> None:
            request = {"DeviceIds": [self.devices[number]], **job}
            self.cloud.plane.call("CreateJobForDevices", request)

        self.env.timeout(when_s).callbacks.append(act)

    def break_at(self, when_s: float, for_s: float, number: int) -> None:
        machine = self.machines[number]
        self.env.timeout(when_s).callbacks.append(lambda _event: machine.break_uplink())
        self.env.timeout(when_s + for_s).callbacks.append(lambda _event: machine.restore_uplink())


def run(appliances: int = 1000) -> dict[str, Any]:
    """All figures, and the peer's. Takes some seconds."""
    return {
        "one_appliance": one_appliance(),
        "fleet_day": fleet_day(appliances),
        "frames": frames(),
        "fleet_day_sharded": sharded(appliances, os.cpu_count() or 1),
        "peer_bare_simpy": bare_simpy(appliances),
    }


def sharded(appliances: int, workers: int) -> dict[str, Any]:
    """The same fleet as one shard a core, each in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        shards = list(pool.map(fleet_day, [appliances // workers] * workers))
    wall_s = max(shard["wall_s"] for shard in shards)
    done = sum(shard["appliances"] for shard in shards)
    return {
        "workers": workers,
        "appliances": done,
        "updated": sum(shard["updated"] for shard in shards),
        "wall_s": wall_s,
        "device_days_per_s": round(done / wall_s),
    }


def one_appliance() -> dict[str, Any]:
    """Effects a second of one appliance that is rebooted over and over."""
    fleet = Fleet(1)
    for number in range(REBOOTS):
        fleet.call_at(200.0 * number, 0, {"JobType": "REBOOT"})
    before = fleet.effects()
    wall_s = _timed(fleet, 200.0 * REBOOTS)
    effects = fleet.effects() - before
    return {
        "effects": effects,
        "wall_s": round(wall_s, 4),
        "effects_per_s": round(effects / wall_s),
        "effects_per_reboot": round(effects / REBOOTS, 1),
    }


def fleet_day(appliances: int) -> dict[str, Any]:
    """A virtual day: every appliance gets one OTA of 1 GiB and loses its uplink twice."""
    fleet = Fleet(appliances)
    draw = random.Random(SEED)
    config = {"OTAJobConfig": {"ImageVersion": "6.2.2"}}
    for number in range(appliances):
        ota_s = draw.uniform(0.0, DAY_S - 7200.0)
        fleet.call_at(ota_s, number, {"JobType": "OTA", "DeviceJobConfig": config})
        for _ in range(RECONNECTS_A_DAY):
            fleet.break_at(draw.uniform(0.0, DAY_S - 7200.0), draw.uniform(5.0, 60.0), number)
    before, events = fleet.effects(), fleet.counter.events
    wall_s = _timed(fleet, DAY_S)
    effects = fleet.effects() - before
    updated = sum(
        fleet.cloud.plane.call("DescribeDevice", {"DeviceId": device})["CurrentSoftware"] == "6.2.2"
        for device in fleet.devices
    )
    return {
        "appliances": appliances,
        "updated": updated,
        "effects_per_device_day": round(effects / appliances, 1),
        "events_per_device_day": round((fleet.counter.events - events) / appliances, 1),
        "heartbeats_accounted": sum(machine.heartbeats for machine in fleet.machines),
        "wall_s": round(wall_s, 4),
        "device_days_per_s": round(appliances / wall_s),
        "effects_per_s": round(effects / wall_s),
    }


def frames() -> dict[str, Any]:
    """An hour of one appliance with two applications that read eight cameras each."""
    cameras = tuple(_camera(f"c{number}") for number in range(CAMERAS))
    fleet = Fleet(1, cameras)
    machine = fleet.machines[0]
    document: dict[str, Any] = {"cameras": {one.name: {} for one in cameras}}
    for instance in ("one", "two"):
        fleet.nodes.start(machine, StartNode(instance, document, {}, "applications"), 0.0)
    wall_s = _timed(fleet, FRAMES_SPAN_S)
    sent = sum(
        stream.sent for node in fleet.nodes.nodes.values() for stream in node.streams.values()
    )
    return {
        "cameras": CAMERAS,
        "applications": 2,
        "virtual_s": FRAMES_SPAN_S,
        "frames": sent,
        "wall_s": round(wall_s, 4),
        "frames_per_s": round(sent / wall_s),
    }


def bare_simpy(appliances: int) -> dict[str, Any]:
    """The peer: every heartbeat a simpy timeout, no appliance at all behind it."""
    env = simpy.Environment()
    beats = 0

    def device(first_s: float) -> Any:
        nonlocal beats
        yield env.timeout(first_s)
        while True:
            beats += 1
            yield env.timeout(HEARTBEAT_S)

    draw = random.Random(SEED)
    for _ in range(appliances):
        env.process(device(draw.uniform(0.0, HEARTBEAT_S)))
    span_s = DAY_S / 24
    began_s = time.perf_counter()
    env.run(until=span_s)
    wall_s = time.perf_counter() - began_s
    return {
        "heartbeats_per_s": round(beats / wall_s),
        "device_days_per_s": round(appliances * span_s / DAY_S / wall_s, 1),
    }


def _profile() -> Profile:
    return appliance_profile(_profile_path("appliances", PROFILE))


def _camera(name: str) -> CameraPlan:
    profile = camera_profile(_profile_path("cameras", CAMERA))
    return CameraPlan(
        name=name,
        profile=profile.name,
        width_px=profile.width_px,
        height_px=profile.height_px,
        rate_fps=float(profile.rate_fps),
        gop_frames=profile.gop_frames,
        bitrate_kbps=profile.bitrate_kbps,
        clip_s=profile.clip_s,
        objects=0,
        path=profile.path,
        username="",
        password="",
        seed=SEED,
    )


def _profile_path(kind: str, name: str) -> Path:
    path = ProfileLibrary(Path.cwd()).find(kind, name)
    if path is None:
        raise InputError(f"no profile {name!r} of {kind}", hint="device_profiles/ is missing")
    return path


def _timed(fleet: Fleet, span_s: float) -> float:
    """Wall seconds for `span_s` of virtual time. The collector pauses: nothing here is cyclic."""
    gc.collect()
    gc.disable()
    try:
        began_s = time.perf_counter()
        fleet.env.run(until=fleet.env.now + span_s)
        return time.perf_counter() - began_s
    finally:
        gc.enable()
