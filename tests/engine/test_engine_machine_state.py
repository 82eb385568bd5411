"""Any life of a whole appliance in virtual time: commands, networks, panel, sticks, power, storage.

What must hold at any moment, and what must hold once everything is healed and it has had rest.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import simpy
from hypothesis import HealthCheck
from hypothesis import settings as limits
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from harness.appliance import boot_control, image, journal
from harness.appliance.storage import SLOT_PARTITION
from harness.engine.model.engine import KEEP_ALIVE_S, ModelSite
from harness.engine.recorder import Recorder
from harness.engine.stick import GB, Stick, for_logs, with_archive
from harness.engine.sweep.stand import complete
from harness.engine.wiring import PORTS
from harness.errors import Corrupt, HarnessError
from harness.scenario import compile_plan, from_mapping

if TYPE_CHECKING:
    from harness.record.event import Event

ROOT = Path(__file__).parents[2]
OLD = "6.0.8"
IMAGES = {
    "6.2.1": {"size": "8MiB", "fuse_level": 1},
    "6.3.1": {"size": "8MiB", "fuse_level": 1, "required": True},
    "6.9.9": {"size": "8MiB", "fuse_level": 1, "defects": ["health-check-fails"]},
    "8.0.29": {"size": "8MiB", "fuse_level": 2},
}
PLAN = compile_plan(
    from_mapping(
        {
            "schema": 1,
            "name": "any-life",
            "engine": "model",
            "site": {
                "appliances": {
                    "box": {
                        "profile": "panorama-appliance",
                        "firmware": OLD,
                        "network": {"layout": "dual"},
                    }
                }
            },
            "images": IMAGES,
            "bring_up": [{"provision": "box"}],
            "checks": ["steps"],
            "stop_after": "1h",
            "converge_within": "30s",
        },
        folder=ROOT,
        base=ROOT,
    )
)
REST_S = 4 * 3600.0
PRESSES = [({"power"}, 1.0), ({"reset"}, 1.0), ({"reset"}, 5.0), ({"power", "reset"}, 5.0)]


class Events:
    """In place of a history: what the run would have written."""

    def __init__(self) -> None:
        self.all: list[Event] = []

    def append(self, event: Event) -> None:
        self.all.append(event)

    def last(self, kind: str, **wanted: Any) -> dict[str, Any]:
        found = (e for e in reversed(self.all) if e.kind == kind)
        return dict(next((e.values for e in found if wanted.items() <= e.values.items()), {}))


class Appliance(RuleBasedStateMachine):
    @initialize(seed=st.integers(0, 15), provisioned=st.booleans())
    def begin(self, seed: int, provisioned: bool) -> None:
        self.env = simpy.Environment()
        self.events = Events()
        recorder = Recorder(self.events, lambda: self.env.now)  # type: ignore[arg-type]
        self.world = ModelSite(PLAN, recorder, self.env)
        self.box = self.world.machines["box"]
        self.box.draw = random.Random(seed)
        self.plane = self.world.cloud.plane
        self.fuses = self.box.disk.fuses
        self.rotten = False
        self.device = ""
        self.box.power_up()
        if provisioned:
            self.pass_s(100.0)
            self.provision()
            self.pass_s(100.0)

    def pass_s(self, duration_s: float) -> None:
        self.env.run(until=self.env.now + duration_s)

    def call(self, operation: str, **parameters: Any) -> Any:
        """Outcome: the answer; None when the service refuses."""
        try:
            answer = self.plane.call(operation, parameters)
        except HarnessError:
            return None
        self.world.cloud.watch_clock()
        return answer

    # --- the operator and the service ----------------------------------------------------------

    @rule()
    def provision(self) -> None:
        if self.device and self.call("DescribeDevice", DeviceId=self.device):
            return
        answer = self.call("ProvisionDevice", Name="box")
        if answer is None:  # the old one is still being deleted
            return
        self.device = answer["DeviceId"]
        self.box.plug(with_archive("box", answer["Certificates"]))

    @precondition(lambda self: self.device)
    @rule()
    def deregister(self) -> None:
        self.call("DeleteDevice", DeviceId=self.device)

    @precondition(lambda self: self.device)
    @rule(version=st.sampled_from(sorted(IMAGES)), allow_major=st.booleans())
    def update(self, version: str, allow_major: bool) -> None:
        config = {"ImageVersion": version, "AllowMajorVersionUpdate": allow_major}
        self.call(
            "CreateJobForDevices",
            DeviceIds=[self.device],
            JobType="OTA",
            DeviceJobConfig={"OTAJobConfig": config},
        )

    @precondition(lambda self: self.device)
    @rule()
    def reboot(self) -> None:
        self.call("CreateJobForDevices", DeviceIds=[self.device], JobType="REBOOT")

    # --- the box -------------------------------------------------------------------------------

    @rule(
        stick=st.sampled_from(
            [
                for_logs(),
                Stick({"holiday.jpg": b""}),
                Stick({"certificates-omni_x.zip": b"PK"}),
                Stick({"certificates-omni_x.zip": b"PK"}, read_only=True),
                Stick(format="NTFS"),
                Stick(port="2.0"),
                Stick(size_bytes=64 * GB),
            ]
        )
    )
    def plug(self, stick: Stick) -> None:
        self.box.plug(stick)

    @rule()
    def pull(self) -> None:
        self.box.pull()

    @rule(press=st.sampled_from(PRESSES))
    def press(self, press: tuple[set[str], float]) -> None:
        self.box.press(frozenset(press[0]), press[1])

    @rule()
    def cut_power(self) -> None:
        self.box.cut_power()

    @rule()
    def power_up(self) -> None:
        self.box.power_up()

    @rule()
    def lose_time(self) -> None:
        self.world.cut_power("box")
        self.world.empty_clock("box")

    # --- what is around it ---------------------------------------------------------------------

    @rule(port=st.sampled_from(PORTS), connected=st.booleans())
    def cable(self, port: str, connected: bool) -> None:
        self.box.set_cable(port, connected=connected)

    @rule(how=st.sampled_from(["break", "hush", "restore"]))
    def uplink(self, how: str) -> None:
        if how == "hush":
            self.box.hush_uplink(KEEP_ALIVE_S)
        else:
            getattr(self.box, f"{how}_uplink")()

    @rule(answers=st.booleans())
    def ntp(self, answers: bool) -> None:
        (self.world.answer_ntp if answers else self.world.silence_ntp)("box")

    @rule(by_s=st.sampled_from([-1e9, -3600.0, 7.0, 1e9]))
    def step_clock(self, by_s: float) -> None:
        self.world.step_clock("box", by_s)

    # --- storage -------------------------------------------------------------------------------

    @rule(trouble=st.sampled_from(["read-only", "full", "slow"]))
    def spoil(self, trouble: str) -> None:
        match trouble:
            case "read-only":
                self.world.make_read_only("box")
            case "full":
                self.world.fill_storage("box")
            case "slow":
                self.world.slow_storage("box", 2.0)

    @rule(trouble=st.sampled_from(["read-only", "full", "slow"]))
    def mend(self, trouble: str) -> None:
        self.world.mend_storage("box", trouble)

    @rule(part=st.sampled_from(["manifest", "bootloader", "tee", "kernel", "root"]))
    def rot(self, part: str) -> None:
        try:
            self.world.rot_part("box", part)
        except HarnessError:  # the slot is rotten already, or half written
            return
        self.rotten = True

    @rule(for_s=st.sampled_from([0.2, 3.0, 20.0, 70.0, 400.0, 3600.0]))
    def wait(self, for_s: float) -> None:
        self.pass_s(for_s)

    # --- what holds at any moment --------------------------------------------------------------

    @invariant()
    def fuses_never_grow_back(self) -> None:
        if hasattr(self, "box"):
            assert self.box.disk.fuses >= self.fuses
            self.fuses = self.box.disk.fuses

    @invariant()
    def only_rot_leaves_it_without_a_slot(self) -> None:
        if hasattr(self, "box") and not self.rotten:
            assert not self.box.halted

    @invariant()
    def settings_can_be_read(self) -> None:
        if hasattr(self, "box"):
            kept: journal.Journal = complete(journal.load(), self.box.disk.fork())
            assert kept.values.get("device", {"thing": ""})["thing"] in ("", *self._known())

    def _known(self) -> set[str]:
        ended = (event for event in self.events.all if event.kind == "provision.ended")
        return {self.device, *(str(event.values["device"]) for event in ended)}

    @invariant()
    def without_power_nothing_goes_on(self) -> None:
        if hasattr(self, "box") and (not self.box.powered or self.box.halted):
            assert not self.box._programs
            assert not self.box._client

    # --- and at rest ---------------------------------------------------------------------------

    @rule()
    def rest(self) -> None:
        for port in PORTS:
            self.box.set_cable(port, connected=True)
        self.box.restore_uplink()
        self.world.answer_ntp("box")
        for trouble in ("read-only", "full", "slow"):
            self.world.mend_storage("box", trouble)
        if self.box.halted:
            self.box.press(frozenset({"reset"}), 1.0)
        self.box.power_up()
        self.pass_s(REST_S)
        if self.box.halted or not self.box.powered:  # it had rotted, or a press was on its way
            return
        self._rested()

    def _rested(self) -> None:
        booted, disk = self.events.last("appliance.booted"), self.box.disk
        control = complete(boot_control.load(), disk.fork())
        assert control.active == booted["slot"]
        if not self.rotten:
            partition = SLOT_PARTITION[control.active]
            try:
                _, runs = complete(
                    image.read_header(partition, self.box.board.root_key), disk.fork()
                )
            except Corrupt as problem:
                raise AssertionError(f"{partition}: {problem}") from None
            assert runs.version == booted["version"]
            assert runs.fuse_level >= disk.fuses
        assert self.box.time.offset_s == 0.0
        status = self.events.last("panel.led", led="status")
        kept: journal.Journal = complete(journal.load(), disk.fork())
        device = self.call("DescribeDevice", DeviceId=self.device) if self.device else None
        registered = kept.values.get("device", {}).get("thing") == self.device
        if device is None or not registered or device["ProvisioningStatus"] != "SUCCEEDED":
            return
        assert (status["colour"], status["pattern"]) == ("green", "steady")
        network = self.events.last("panel.led", led="network")
        assert (network["colour"], network["pattern"]) == ("green", "fast")
        assert device["DeviceConnectionStatus"] == "ONLINE"
        assert device["CurrentSoftware"] == booted["version"]
        assert device["SerialNumber"] == self.box.board.serial
        assert (device["Brand"], device["Type"]) == ("AWS_PANORAMA", "PANORAMA_APPLIANCE")
        told = device["CurrentNetworkingStatus"]
        for port in ("Ethernet0Status", "Ethernet1Status", "NtpStatus"):
            assert told[port]["ConnectionStatus"] == "CONNECTED", told
        jobs = self.call("ListDevicesJobs", DeviceId=self.device)["DeviceJobs"]
        for job in jobs:
            answer = self.call("DescribeDeviceJob", JobId=job["JobId"])
            assert answer["Status"] in ("COMPLETED", "FAILED"), answer

    def teardown(self) -> None:
        if hasattr(self, "box"):
            self.rest()


AnyLife = Appliance.TestCase
AnyLife.settings = limits(
    max_examples=500,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
