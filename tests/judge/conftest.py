"""A plausible 60-second history, written like an engine would: the tests' stand-in for a run.

Two appliances, four cameras, an update that commits, an update that rolls back, a lost network
and a lost camera; everything heals. Tests bend single events of it.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from harness.jetson.profile import Profile
from harness.record import kind
from harness.record.event import Event
from harness.record.head import Head
from harness.record.histogram import Histogram
from harness.record.history import History, HistoryWriter
from harness.record.rundir import RunDir
from harness.scenario import plan as planning

if TYPE_CHECKING:
    from pathlib import Path

RATE_FPS = 15
CAMERAS = {"counter-north": ("door", "till"), "counter-south": ("yard", "ramp")}
HOST = {"counter-north": "north", "counter-south": "south"}
# (instance, camera) -> seconds in which no frame arrives
SILENT = {
    ("counter-north", "door"): ((0, 9), (24, 30)),
    ("counter-north", "till"): ((0, 9), (24, 30)),
    ("counter-south", "yard"): ((0, 10), (35, 42), (44, 49)),
    ("counter-south", "ramp"): ((0, 10), (35, 42)),
}
CAMERA_FAULT = planning.FaultPlan("camera-1", "camera.offline", "yard", 5.0)
UPLINK_FAULT = planning.FaultPlan("uplink-1", "uplink.loss", "north", 5.0, at_s=6.0)


def make_profile() -> Profile:
    sizes: dict[str, Any] = {
        "memory_bytes": 32 << 30,
        "slot_bytes": 1 << 30,
        "data_bytes": 8 << 30,
    }
    return Profile(
        name="panorama-appliance", brand="AWS_PANORAMA", device_type="PANORAMA_APPLIANCE",
        module="Jetson AGX Xavier", board="xavier", fuse_level=3, boot_s=60.0, shutdown_s=10.0,
        model_load_s=60.0, storage_write_bytes_per_s=1e8, storage_read_bytes_per_s=3e8,
        sync_s=0.01, hash_bytes_per_s=4e8, uplink_bytes_per_s=1e7, round_trip_s=0.05,
        decode_ms=6.0, inference_ms=7.2, host_ms=60.0, streams_max=8, **sizes,
    )  # fmt: skip


def make_plan(**changes: Any) -> planning.Plan:
    appliances = tuple(planning.AppliancePlan(n, make_profile(), "6.2.1", 1) for n in HOST.values())
    cameras = tuple(
        planning.CameraPlan(
            name,
            "generic-360p15",
            640,
            360,
            float(RATE_FPS),
            30,
            400,
            10.0,
            3,
            "/stream",
            "",
            "",
            5,
        )
        for names in CAMERAS.values()
        for name in names
    )
    made = planning.Plan(
        scenario="two-shops", seed=7, engine="process", time_scale=20.0,
        description="Two shops, four cameras: one update that holds, one that must roll back,"
        " a network that goes away and a camera that does.",
        source="scenarios/two-shops.yaml", appliances=appliances, cameras=cameras, images=(),
        applications=(), bring_up=(), workload=(planning.Inject(CAMERA_FAULT),),
        nemesis=(UPLINK_FAULT,),
        checks=tuple(
            planning.CheckPlan(name, parameters)
            for name, parameters in (
                ("steps", {}), ("recovers", {}), ("slots-safe", {}), ("ota-truthful", {}),
                ("applications-return", {"within_s": 3.0}),
                ("detections", {"precision_min": 0.9, "recall_min": 0.85}),
                ("reached", {"kinds": [kind.OTA_ENDED, kind.CAMERA_LOST]}),
            )
        ),
        limits=(
            planning.LimitPlan("frame_latency_ms", "p99", "<=", 500.0),
            planning.LimitPlan("reconnect_s", "max", "<=", 10.0),
        ),
        stop_after_s=120.0, converge_within_s=20.0,
    )  # fmt: skip
    return replace(made, **changes)


@dataclass
class Builder:
    """Collects events in any order; `history` sorts them by time."""

    events: list[Event]

    def add(self, t_s: float, source: str, what: str, **values: Any) -> None:
        self.events.append(Event(t_s, source, what, values))

    def boot(self, t_s: float, name: str, version: str, slot: str, **more: Any) -> None:
        """A boot that began 1.5 s before `t_s`, and the connection 0.6 s after it."""
        source = f"appliance/{name}"
        fuses = more.get("fuses", 3)
        self.add(t_s - 1.5, source, kind.STATE, state="booting")
        self.add(t_s - 1.5, source, kind.LED, led="status", colour="green", pattern="fast")
        self.control(t_s, name, slot, fuses)
        self.add(
            t_s, source, kind.BOOTED, slot=slot, version=version,
            committed=more.get("committed", True), fuse_level=fuses, duration_s=1.5,
        )  # fmt: skip
        self.add(t_s, source, kind.STATE, state=more.get("state", "connecting"))
        self.add(t_s, source, kind.LED, led="status", colour="green", pattern="steady")
        if more.get("connects", True):
            self.connect(t_s + 0.6, name, 0.6)

    def control(self, t_s: float, name: str, active: str, fuses: int = 3) -> None:
        good = {"bootable": True, "successful": True, "tries": 0}
        spare = {"bootable": False, "successful": False, "tries": 0}
        slots = {slot: dict(good if slot == active else spare) for slot in "ab"}
        self.add(t_s, f"appliance/{name}", kind.SLOTS, active=active, slots=slots, fuse_level=fuses)

    def connect(self, t_s: float, name: str, duration_s: float) -> None:
        source = f"appliance/{name}"
        self.add(t_s, source, kind.LINK_CONNECTED, attempt=1, duration_s=duration_s)
        self.add(t_s, source, kind.STATE, state="online")
        self.add(t_s, source, kind.LED, led="network", colour="green", pattern="fast")
        self.add(t_s + 0.1, "cloud", kind.CLOUD_DEVICE, device=name, status="ONLINE")

    def usage(self, t_s: float, name: str, **changes: int) -> None:
        told = {
            "memory_used_bytes": 2 << 30, "memory_total_bytes": 32 << 30,
            "storage_used_bytes": 1 << 24, "storage_total_bytes": 8 << 30,
            "asset_bytes": 0, "log_bytes": 4_000_000, "console_bytes": 11_000_000,
        }  # fmt: skip
        self.add(t_s, f"appliance/{name}", kind.USAGE, **{**told, **changes})

    def step(self, start_s: float, end_s: float, index: str, text: str) -> None:
        about = {"step": text, "action": text.split()[0], "index": index}
        self.add(start_s, "scenario", kind.STEP_STARTED, **about)
        self.add(
            end_s, "scenario", kind.STEP_ENDED, **about, ok=True,
            duration_s=end_s - start_s, error="",
        )  # fmt: skip

    def update(
        self, t_s: float, name: str, job: str, versions: tuple[str, str], *, holds: bool
    ) -> float:
        """An update of six seconds, nine when it is rolled back. Answers when it ended."""
        source = f"appliance/{name}"
        self.add(t_s, "cloud", kind.CLOUD_JOB, job=job, device=name, status="PENDING")
        for offset_s, phase in ((0.2, "downloading"), (1.6, "verifying"), (2.0, "writing")):
            self.add(t_s + offset_s, source, kind.OTA_PHASE, job=job, phase=phase)
        self.control(t_s + 2.6, name, "b")
        self.add(t_s + 2.8, source, kind.OTA_PHASE, job=job, phase="rebooting")
        self.add(t_s + 3, source, kind.STOPPED, reason="update")
        self.boot(t_s + 4.5, name, versions[1], "b", committed=False)
        self.add(t_s + 4.6, source, kind.OTA_PHASE, job=job, phase="health-check")
        end_s = t_s + 5.8
        if not holds:
            self.control(end_s - 0.1, name, "a")
            self.add(end_s, source, kind.STOPPED, reason="rollback")
            self.boot(end_s + 1.5, name, versions[0], "a")
            end_s += 2.4
        else:
            self.control(end_s - 0.1, name, "b", 4)
        outcome, status = ("committed", "COMPLETED") if holds else ("rolled-back", "FAILED")
        self.add(
            end_s, source, kind.OTA_ENDED, job=job, outcome=outcome, version_from=versions[0],
            version_to=versions[1], duration_s=end_s - t_s, reason="",
        )  # fmt: skip
        self.add(end_s + 0.1, "cloud", kind.CLOUD_JOB, job=job, device=name, status=status)
        return end_s

    def fault(self, fault: str, what: str, target: str, times: tuple[float, ...]) -> None:
        injected_s, observed_s, healed_s, recovered_s = times
        self.add(
            injected_s, "nemesis", kind.FAULT_INJECTED, fault=fault, fault_kind=what,
            target=target, label=what, parameters={},
        )  # fmt: skip
        by = (kind.LINK_LOST, kind.LINK_CONNECTED)
        if what.startswith("camera"):
            by = (kind.CAMERA_LOST, kind.FRAMES)
        self.add(
            observed_s, "nemesis", kind.FAULT_OBSERVED, fault=fault, by=by[0],
            after_s=observed_s - injected_s,
        )  # fmt: skip
        self.add(healed_s, "nemesis", kind.FAULT_HEALED, fault=fault)
        self.add(
            recovered_s, "nemesis", kind.FAULT_RECOVERED, fault=fault, by=by[1],
            after_s=recovered_s - healed_s,
        )  # fmt: skip


def make_events() -> list[Event]:
    """The whole story; event numbers are positions in the returned list plus one."""
    b = Builder([])
    b.add(0, "scenario", kind.RUN_STARTED, plan=make_plan().digest, time_scale=20.0)
    for t_s, phase in ((0, "bring-up"), (10, "workload"), (50, "convergence")):
        b.add(t_s, "scenario", kind.PHASE_STARTED, phase=phase)
    for index, name in enumerate(HOST.values()):
        b.add(0, f"appliance/{name}", kind.POWERED)
        b.boot(1.5 + 0.2 * index, name, "6.2.1", "a", state="provisioning", connects=False)
        b.add(4, f"appliance/{name}", kind.PROVISIONED, device=name, duration_s=2.3)
        b.add(4, f"appliance/{name}", kind.STATE, state="connecting")
        b.connect(4.5, name, 0.5)
        b.step(0, 4.7, f"1.{index + 1}", f"provision {name}")
    _applications(b)
    b.fault("uplink-1", "uplink.loss", "north", (16, 16.4, 21, 22.1))
    b.add(16.4, "appliance/north", kind.LINK_LOST, reason="connection reset")
    b.add(16.4, "appliance/north", kind.STATE, state="offline")
    b.add(18, "cloud", kind.CLOUD_DEVICE, device="north", status="OFFLINE")
    b.connect(22, "north", 5.6)
    b.step(23, b.update(23, "north", "job-1", ("6.2.1", "7.0.13"), holds=True), "4", "update north")
    b.add(30, "appliance/north", kind.NODE_STARTED, instance="counter-north", attempt=1)
    b.step(
        33, b.update(33, "south", "job-2", ("6.2.1", "7.0.11"), holds=False), "5", "update south"
    )
    b.add(41.4, "appliance/south", kind.NODE_STARTED, instance="counter-south", attempt=1)
    b.fault("camera-1", "camera.offline", "yard", (44, 44.8, 48, 49.2))
    line = "liveMedia0: Failed to get SDP description: Connection to server failed"
    b.add(
        44.8,
        "app/counter-south",
        kind.CAMERA_LOST,
        camera="yard",
        instance="counter-south",
        line=line,
    )
    b.add(60, "scenario", kind.RUN_ENDED, outcome="completed", error="")
    return sorted(b.events, key=lambda event: event.t_s)


def _applications(b: Builder) -> None:
    draw = random.Random(7)
    for instance, cameras in CAMERAS.items():
        host = f"appliance/{HOST[instance]}"
        b.step(5, 9.6, "2" if instance == "counter-north" else "3", f"deploy counter as {instance}")
        b.add(8, host, kind.INSTALLED, instance=instance, bytes=1 << 22, duration_s=2.4)
        b.add(8.2, host, kind.NODE_STARTED, instance=instance, attempt=1)
        b.add(
            8.3,
            "cloud",
            kind.CLOUD_INSTANCE,
            instance=instance,
            status="DEPLOYMENT_SUCCEEDED",
            description="",
        )
        b.add(
            8.2, host, kind.DISPLAY, owner=instance, streams=len(cameras), tiles=len(cameras)
        )  # fmt: skip
        b.usage(20, HOST[instance], asset_bytes=1 << 22)
        for camera in cameras:
            b.add(
                9, f"app/{instance}", kind.CAMERA_CONNECTED,
                camera=camera, instance=instance, transport="tcp",
            )  # fmt: skip
            _stream(b, instance, camera, draw)


def _stream(b: Builder, instance: str, camera: str, draw: random.Random) -> None:
    total = {"delivered": 0, "lost_network": 0}
    first_s = SILENT[(instance, camera)][0][1]
    b.add(first_s, f"app/{instance}", kind.APP_FIRST_FRAME, camera=camera, duration_s=first_s - 8.2)
    for second in range(first_s, 60):
        silent = any(a <= second < z for a, z in SILENT[(instance, camera)])
        delivered = 0 if silent else RATE_FPS - (draw.random() < 0.15)
        total["delivered"] += delivered
        total["lost_network"] += RATE_FPS - delivered
        latency = Histogram(draw.lognormvariate(4.2, 0.3) for _ in range(delivered))
        inference = Histogram(draw.lognormvariate(2, 0.12) for _ in range(delivered))
        b.add(
            second + 1 - 0.01, f"app/{instance}", kind.FRAMES, camera=camera, instance=instance,
            from_s=float(second), to_s=float(second + 1), delivered=delivered,
            detected=delivered * 3, missed=int(delivered > 0 and second % 2),
            false=int(delivered > 0 and second % 5 == 0),
            latency_ms=latency.to_json(), inference_ms=inference.to_json(),
        )  # fmt: skip
    b.add(
        59.99, f"app/{instance}", kind.FRAME_ACCOUNT, camera=camera, instance=instance,
        sent=sum(total.values()) + 3, dropped_decoder=1, skipped_application=0, in_flight=2,
        **total,
    )  # fmt: skip


def make_head(**changes: Any) -> Head:
    made = Head(
        scenario="two-shops", seed=7, engine="process", grade="L", plan=make_plan().digest,
        started=datetime(2026, 5, 4, 9, 30, tzinfo=UTC),
        versions={"harness": "0.1.0", "python": "3.11.7", "onnxruntime": "1.23.2"},
    )  # fmt: skip
    return replace(made, **changes)


class Site:
    """What the tests of the judge ask for."""

    def plan(self, **changes: Any) -> dict[str, Any]:
        plan: dict[str, Any] = json.loads(json.dumps(make_plan(**changes).to_json()))
        return plan

    def head(self, **changes: Any) -> Head:
        return make_head(**changes)

    def events(self) -> list[Event]:
        return make_events()

    def history(self, events: list[Event] | None = None, **head: Any) -> History:
        return History(make_head(**head), tuple(make_events() if events is None else events))

    def only(self, *events: tuple[float, str, str, dict[str, Any]]) -> History:
        """A history of nothing but these events, for checkers that look at few."""
        return History(make_head(), tuple(Event(*event) for event in events))

    def without(self, what: str, **values: Any) -> History:
        """The whole story without the events of this kind that have these values."""
        return self.history([e for e in make_events() if not _matches(e, what, values)])

    def bent(self, what: str, values: dict[str, Any], **changes: Any) -> History:
        """The whole story with the values of these events changed."""
        return self.history(
            [
                Event(e.t_s, e.source, e.kind, {**e.values, **changes})
                if _matches(e, what, values)
                else e
                for e in make_events()
            ]
        )

    def run(self, root: Path, events: list[Event] | None = None, **head: Any) -> RunDir:
        """A run directory as an engine leaves it: plan and history."""
        made = make_head(**head)
        run = RunDir.create(root, made.scenario, made.seed, made.started)
        run.write_plan(make_plan().to_json())
        with HistoryWriter(run.history, made) as writer:
            for event in make_events() if events is None else events:
                writer.append(event)
        return run


def _matches(event: Event, what: str, values: dict[str, Any]) -> bool:
    return event.kind == what and all(event.values.get(k) == v for k, v in values.items())


@pytest.fixture
def site() -> Site:
    return Site()
