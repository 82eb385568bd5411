"""The swarm: what locust runs. Read by `locust -f`, in a process of its own, never imported.

What it is to do is in a file named by `HARNESS_LOAD_ORDER`; what came of it goes to the file named
there. Requests of the API are signed as any client's are; devices are `harness.fleet.device`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import gevent
import msgspec
from locust import FastHttpUser, LoadTestShape, constant, events, runners, task

from harness.cloud.access.keyring import AccessKey, Principal
from harness.cloud.access.signer import signed_headers
from harness.cloud.api import load
from harness.cloud.api.wire import write_request
from harness.errors import HarnessError
from harness.fleet.device import Device
from harness.fleet.order import ORDER_VARIABLE, Outcome, Row, read_order

if TYPE_CHECKING:
    from collections.abc import Iterator

    from locust.env import Environment
    from locust.stats import StatsEntry

ORDER = read_order(Path(os.environ[ORDER_VARIABLE]))
PROFILE = ORDER.profile
SERVICE = load()
KEY = AccessKey(
    ORDER.key_id,
    ORDER.secret,
    Principal(ORDER.account, f"arn:aws:iam::{ORDER.account}:root", ORDER.account),
)
# A worker parses all its options again as it starts, seconds on a busy machine: not dead yet.
runners.HEARTBEAT_LIVENESS = 30
REBOOT_S = 1.0  # how long a device of a load test is away
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.5, 8.0
POLL_S = 0.5
JOB_S_MAX = 120.0


@contextmanager
def timed(environment: Environment, method: str, name: str) -> Iterator[None]:
    """Count what happens inside as one request, failed when it raises what a peer does wrong."""
    began_s = time.perf_counter()
    error: Exception | None = None
    try:
        yield
    except (HarnessError, OSError) as problem:
        error = problem
    finally:
        environment.events.request.fire(
            request_type=method,
            name=name,
            response_time=(time.perf_counter() - began_s) * 1000.0,
            response_length=0,
            exception=error,
            context={},
        )


class ApiUser(FastHttpUser):
    """Somebody with a key. Abstract: operators and the rollout are such."""

    abstract = True
    host = ORDER.api_url
    insecure = not ORDER.ca_pem

    def call(self, operation: str, **parameters: Any) -> dict[str, Any] | None:
        """The answer, None when it failed; either way it is counted."""
        request = write_request(SERVICE, SERVICE.operations[operation], parameters)
        headers = {"Content-Type": "application/json", "Host": urlsplit(ORDER.api_url).netloc}
        digest = hashlib.sha256(request.body).hexdigest()
        signed = signed_headers(
            KEY, ORDER.region, "panorama", request.method, request.target, headers, digest,
            time.time(),
        )  # fmt: skip
        with self.client.request(
            request.method,
            request.target,
            name=operation,
            headers=signed,
            data=request.body.decode() or None,
            catch_response=True,
        ) as response:
            if response.status_code != 200:
                told = (response.text or "no answer")[:200]
                response.failure(f"HTTP {response.status_code}: {told}")
                return None
            answer: dict[str, Any] = json.loads(response.text)
            return answer


class Operator(ApiUser):
    """A dashboard: it lists, and looks closer at what it finds."""

    fixed_count = PROFILE.operators
    wait_time = constant(PROFILE.think_s)

    @task
    def look(self) -> None:
        answer = self.call("ListDevices", MaxResults=25)
        if answer and answer["Devices"]:
            chosen = random.choice(answer["Devices"])
            self.call("DescribeDevice", DeviceId=chosen["DeviceId"])
        self.call("ListPackages")


class FleetDevice(ApiUser):
    """A device: registers once, then reports, does its jobs, and lives through the storm."""

    fixed_count = PROFILE.devices
    wait_time = constant(PROFILE.heartbeat_s)

    def on_start(self) -> None:
        self.device: Device | None = None
        self.stormed = False
        name = f"{ORDER.run}-{os.getpid()}-{random.getrandbits(40):010x}"
        answer = self.call("ProvisionDevice", Name=name)
        if answer is None:
            return
        device = Device(base64.b64decode(answer["Certificates"]))
        with timed(self.environment, "MQTT", "register"):
            device.register()
            self.device = device
        if self.device is not None:
            self._connect("connect")

    def on_stop(self) -> None:
        if self.device is not None:
            self.device.hang_up()

    @task
    def live(self) -> None:
        device = self.device
        if device is None:
            return
        if self._storms():
            self.stormed = True
            device.drop()
            self._connect("reconnect")
        with timed(self.environment, "MQTT", "report"):
            device.report()
        while not device.jobs.empty():
            self._reboot(device, device.jobs.get())

    def _storms(self) -> bool:
        if self.stormed or PROFILE.storm_at is None:
            return False
        return elapsed_s() >= PROFILE.storm_at * PROFILE.duration_s

    def _connect(self, name: str) -> None:
        """As an appliance does: again and again, later every time, not all at one moment."""
        assert self.device is not None
        attempt = 0
        with timed(self.environment, "MQTT", name):
            while True:
                try:
                    self.device.connect()
                    return
                except HarnessError:
                    attempt += 1
                    ceiling_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0**attempt)
                    if attempt > 10:
                        raise
                    gevent.sleep(ceiling_s * random.uniform(0.5, 1.0))

    def _reboot(self, device: Device, job: str) -> None:
        with timed(self.environment, "MQTT", "job"):
            device.report_job(job, "IN_PROGRESS", "REBOOTING")
            device.hang_up()
            gevent.sleep(REBOOT_S)
            device.connect()
            device.report()
            device.report_job(job, "SUCCEEDED", "COMPLETED")


class Rollout(ApiUser):
    """The pipeline that rolls out in waves, each time to those who had none yet."""

    fixed_count = 1 if PROFILE.waves else 0
    abstract = not PROFILE.waves
    wait_time = constant(POLL_S)

    def on_start(self) -> None:
        self.waves = list(PROFILE.waves)
        self.done: set[str] = set()

    @task
    def roll(self) -> None:
        if not self.waves or elapsed_s() < self.waves[0][0] * PROFILE.duration_s:
            return
        _, share = self.waves.pop(0)
        online = sorted(self._online())
        due = online[: max(1, round(share * len(online)))] if online else []
        with timed(self.environment, "WAVE", f"{share:.0%} of the fleet"):
            jobs = [job for device in due if device not in self.done and (job := self._job(device))]
            self.done.update(due)
            self._follow(jobs)

    def _online(self) -> Iterator[str]:
        token = None
        while True:
            page: dict[str, Any] = {"NextToken": token} if token else {}
            answer = self.call("ListDevices", NameFilter=ORDER.run, MaxResults=25, **page)
            if answer is None:
                return
            for device in answer["Devices"]:
                if device.get("DeviceAggregatedStatus") == "ONLINE":
                    yield device["DeviceId"]
            token = answer.get("NextToken")
            if not token:
                return

    def _job(self, device: str) -> str | None:
        answer = self.call("CreateJobForDevices", DeviceIds=[device], JobType="REBOOT")
        return None if answer is None else str(answer["Jobs"][0]["JobId"])

    def _follow(self, jobs: list[str]) -> None:
        """Until every job has ended. Raises `HarnessError` when one does not."""
        until_s = time.monotonic() + JOB_S_MAX
        open_jobs = list(jobs)
        while open_jobs:
            if time.monotonic() > until_s:
                raise HarnessError(f"{len(open_jobs)} of {len(jobs)} jobs have not ended")
            still = []
            for job in open_jobs:
                answer = self.call("DescribeDeviceJob", JobId=job)
                if answer is None or answer["Status"] not in ("COMPLETED", "FAILED"):
                    still.append(job)
            open_jobs = still
            gevent.sleep(POLL_S)


class Shape(LoadTestShape):
    """As the profile says."""

    def tick(self) -> tuple[int, float] | None:
        target = PROFILE.target(self.get_run_time())
        if target is None:
            return None
        users, rate = target
        return users + (1 if PROFILE.waves else 0), rate


_began_s = [time.monotonic()]


def elapsed_s() -> float:
    """Since the test began, in this process."""
    return time.monotonic() - _began_s[0]


def begin(environment: Environment, **_: Any) -> None:
    _began_s[0] = time.monotonic()


def tell(environment: Environment, **_: Any) -> None:
    """Write the outcome; of several processes only the one that has all numbers does."""
    if isinstance(environment.runner, runners.WorkerRunner):
        return
    stats = environment.stats
    rows = tuple(_row(entry) for _, entry in sorted(stats.entries.items()))
    errors = {f"{e.method} {e.name}: {e.error}": e.occurrences for e in stats.errors.values()}
    Path(ORDER.outcome).write_bytes(msgspec.json.encode(Outcome(rows, errors)))


def _row(entry: StatsEntry) -> Row:
    def quantile(share: float) -> float:
        return float(entry.get_response_time_percentile(share) or 0.0)

    return Row(
        entry.method, entry.name, entry.num_requests, entry.num_failures,
        round(entry.total_rps, 3), quantile(0.5), quantile(0.9), quantile(0.99),
        round(entry.max_response_time, 3),
    )  # fmt: skip


events.test_start.add_listener(begin)
events.quitting.add_listener(tell)
