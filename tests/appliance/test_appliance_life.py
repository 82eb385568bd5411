"""Any life an appliance may lead: updates, reboots, applications, lost links, lost power."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import HealthCheck
from hypothesis import settings as limits
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from harness.appliance.storage import Blob
from harness.engine.sweep.cloud import sha256
from harness.engine.sweep.stand import provisioned_box
from harness.engine.sweep.truth import settings, settle, violations

VERSIONS = ("6.0.8", "6.2.1", "7.0.13", "8.0.29")
OPEN = ("QUEUED", "IN_PROGRESS")
INSTANCES = ("door", "hall", "yard")
MOMENTS = st.integers(0, 160)
SURVIVORS = st.integers(0, 255)  # one bit a write


class Life(RuleBasedStateMachine):
    """The box follows the cloud, whatever the order of things; the cloud is told the truth."""

    @initialize(seed=st.integers(0, 7))
    def begin(self, seed: int) -> None:
        self.box = provisioned_box("door")
        self.device = settings(self.box)["device"]
        self.spoilt = False
        self.box.schedule = random.Random(seed)
        self.box.power_up()

    def _busy(self) -> bool:
        return any(j["status"] in OPEN for j in self.box.cloud.jobs.values())

    @precondition(lambda self: not self._busy())
    @rule(
        version=st.sampled_from(VERSIONS),
        fuse_level=st.integers(1, 3),
        defects=st.sampled_from([(), (), ("health-check-fails",)]),
        damage=st.sampled_from(["", "", "", "payload", "signature", "timestamp", "stale"]),
        allow_major=st.booleans(),
    )
    def update(
        self,
        version: str,
        fuse_level: int,
        defects: tuple[str, ...],
        damage: str,
        allow_major: bool,
    ) -> None:
        cloud = self.box.cloud
        before = {url: data for url, data in cloud.content.items() if url.startswith("metadata/")}
        document = cloud.offer(version, fuse_level=fuse_level, defects=defects)
        if damage == "payload":
            size = cloud.content[document["imageUrl"]].size  # type: ignore[union-attr]
            cloud.content[document["imageUrl"]] = Blob(sha256(b"other"), size, size)
        elif damage == "signature":
            signed: Any = cloud.content[document["manifestUrl"]]
            cloud.content[document["manifestUrl"]] = signed[:-1] + b" "
        elif damage == "timestamp":
            cloud.content["metadata/timestamp.json"] = b"{}"
        elif damage == "stale":
            cloud.content.update(before)
        cloud.order({**document, "allowMajorVersionUpdate": allow_major})

    @precondition(lambda self: self._busy())
    @rule()
    def cancel(self) -> None:
        jobs = self.box.cloud.jobs
        self.box.cloud.cancel(next(j for j in jobs if jobs[j]["status"] in OPEN))

    @precondition(lambda self: not self._busy())
    @rule()
    def reboot(self) -> None:
        self.box.cloud.order({"operation": "REBOOT"})

    @rule(instance=st.sampled_from(INSTANCES), size=st.sampled_from([10, 5000, 100_000]))
    def deploy(self, instance: str, size: int) -> None:
        if self.box.cloud.desired.get(instance, {}).get("state") != "RUNNING":
            assets = {"code": f"code of {instance}".encode(), "model": bytes(size)}
            self.box.cloud.deploy(instance, assets)

    @rule(instance=st.sampled_from(INSTANCES))
    def remove(self, instance: str) -> None:
        if instance in self.box.cloud.desired:
            self.box.cloud.remove(instance)

    @rule(instance=st.sampled_from(INSTANCES))
    def crash(self, instance: str) -> None:
        if instance in self.box.nodes:
            self.box.crash(instance)

    @rule()
    def lose_link(self) -> None:
        self.box.break_link()

    @rule(steps=st.integers(0, 2))
    def lose_link_in_a_download(self, steps: int) -> None:
        self.box.break_after_steps = steps

    @rule()
    def mend_link(self) -> None:
        self.box.mend_link()

    @rule(port=st.sampled_from(["eth0", "eth1"]), connected=st.booleans())
    def cable(self, port: str, connected: bool) -> None:
        self.box.set_cable(port, connected=connected)

    @rule(by_s=st.sampled_from([-1e9, -60.0, 3e9]))
    def set_clock_wrong(self, by_s: float) -> None:
        self.box.time.step(by_s)

    @rule(trouble=st.sampled_from(["read_only", "full"]))
    def spoil_storage(self, trouble: str) -> None:
        self.spoilt = True
        self.box.spoil(trouble)

    @rule()
    def mend(self) -> None:
        self.box.mend()

    @rule(for_s=st.sampled_from([0.5, 5.0, 30.0, 90.0, 400.0]))
    def wait(self, for_s: float) -> None:
        self.box.run(for_s=for_s)

    @rule(moments=MOMENTS, survivors=SURVIVORS)
    def lose_power(self, moments: int, survivors: int) -> None:
        """After so many moments, or where the box has come to rest before."""
        box = self.box
        box.keeps = lambda partition, index: bool(survivors >> (index + len(partition)) % 8 & 1)
        box.cut_at = box.moments + moments
        box.run(for_s=200.0)
        if box.powered:
            box.cut_power()
        box.cut_at = None
        box.power_up()

    @invariant()
    def never_without_a_way_to_boot(self) -> None:
        assert not self.box.halted

    @rule()
    def rest(self) -> None:
        settle(self.box)
        if self.spoilt:  # an installation that failed is tried again by who wants it, not by it
            told = self.box.cloud.reported
            for name in [n for n, one in told.items() if one["status"] == "INSTALL_ERROR"]:
                self.box.cloud.remove(name)
            settle(self.box)
        assert list(violations(self.box, self.device)) == []

    def teardown(self) -> None:
        if hasattr(self, "box"):
            self.rest()


LifeTest = Life.TestCase
LifeTest.settings = limits(
    max_examples=300,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
