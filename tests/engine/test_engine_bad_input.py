"""Whole runs on the process rung that are given something bad: a clear end, and nothing left.

Every run is checked for what it leaves: child processes, sockets, pipes, threads, tasks and
temporary files. Damage is done from inside, the moment the history tells that it is time.
"""

from __future__ import annotations

import functools
import json
import re
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.cloud.front.server import CloudServer
from harness.cloud.service.content import BytesContent
from harness.cloud.service.core import FIRMWARE_BUCKET, PACKAGE_BUCKET
from harness.engine import conduct
from harness.engine.process import engine as engine_module
from harness.errors import EngineError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.record.event import Event

ROOT = Path(__file__).parents[2]
CODE = "packages/123456789012-people_counter_code-1.0"
SCALE = {"time_scale": 120, "converge_within": "1s"}  # a boot in half a second
IMAGES = {"7.0.13": {"size": "1MiB"}}
UPDATE = {"appliance": "north", "image": "7.0.13", "expect": "committed", "allow_major": True}


@pytest.fixture(autouse=True)
def no_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is worth waiting for once the run has converged or not."""
    monkeypatch.setattr(conduct, "SETTLE_S", 0.0)


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """A copy of the sample application, to be broken."""
    return Path(shutil.copytree(ROOT / "fixtures/apps/people-counter", tmp_path / "app"))


@pytest.fixture
def clouds(monkeypatch: pytest.MonkeyPatch) -> list[CloudServer]:
    """The control planes of the runs of this test."""
    made: list[CloudServer] = []

    def make(**options: Any) -> CloudServer:
        made.append(CloudServer(**options))
        return made[-1]

    monkeypatch.setattr(engine_module, "CloudServer", make)
    return made


def alter(clouds: list[CloudServer], bucket: str, wanted: Callable[[str], bool], at: int) -> None:
    """Change one byte of the objects in `bucket` whose keys are wanted."""
    plane = clouds[-1].plane
    names = (name.partition("/") for name in plane._core.store.objects)
    keys = [key for where, _, key in names if where == bucket and wanted(key)]
    assert keys
    for key in keys:
        content = plane.objects.get(bucket, key)
        assert content is not None
        data = bytearray(content.read(0, content.size_bytes))
        data[at] ^= 1
        plane.buckets.put(bucket, key, BytesContent(bytes(data)))


def ends_in_good_order(ran: Any) -> None:
    """Converged as far as it could, accounted, ended once, loadable, nothing left."""
    assert ran.error is None
    assert ran.left == []
    assert ran.history.complete
    assert [e.values["phase"] for e in ran.of("phase.started")][-1] == "convergence"
    assert ran.history.events[-1].kind == "run.ended"
    outcome, error = ran.outcome
    assert outcome == "failed"
    assert error.startswith("StepFailed: ")


# --- applications --------------------------------------------------------------------------------


def test_an_application_that_crashes_at_import(
    application: Path, runs: Any, make_plan: Any
) -> None:
    source = application / CODE / "src/application.py"
    source.write_text("import no_such_module_anywhere\n", encoding="utf-8")
    plan = make_plan("process", deploy="counter", application=application, **SCALE)
    ran = runs(plan)
    ends_in_good_order(ran)
    ok, error = ran.steps()["deploy counter (people-counter) on north"]
    assert not ok
    assert error.startswith("DEPLOYMENT_ERROR: ")
    assert "ModuleNotFoundError: No module named 'no_such_module_anywhere'" in error
    reasons = {event.values["reason"] for event in ran.of("node.ended")}
    # It is started again and again; the end of the run may meet it while it starts.
    reasons -= {"application counter was stopped before it had started"}
    assert reasons == {error.removeprefix("DEPLOYMENT_ERROR: ")}
    assert ran.of("cloud.instance")[-1].values["status"] == "DEPLOYMENT_ERROR"
    assert ran.of("node.started") == []


def test_an_application_whose_stored_asset_was_altered(
    clouds: list[CloudServer], runs: Any, make_plan: Any
) -> None:
    def listen(event: Event) -> None:
        if event.kind == "cloud.instance" and event.values["status"] == "DEPLOYMENT_REQUESTED":
            alter(clouds, PACKAGE_BUCKET, lambda key: key.endswith(".tar.gz"), 100)

    ran = runs(make_plan("process", deploy="counter", **SCALE), listen=listen)
    ends_in_good_order(ran)
    (failed,) = ran.of("app.install-failed")
    assert failed.values["instance"] == "counter"
    assert re.match(
        r"asset \d{12}::people_counter_\w+/people_counter_\w+: hash is not [0-9a-f]{12}…",
        failed.values["reason"],
    )
    ok, error = ran.steps()["deploy counter (people-counter) on north"]
    assert not ok
    assert error == f"DEPLOYMENT_ERROR: {failed.values['reason']}"
    assert ran.of("app.installed", "node.started") == []


def _without_source(application: Path) -> str:
    shutil.rmtree(application / CODE / "src")
    return "src: missing"


def _without_descriptor(application: Path) -> str:
    (application / CODE / "descriptor.json").unlink()
    return "descriptor.json"


def _with_a_torn_package(application: Path) -> str:
    path = application / CODE / "package.json"
    path.write_text(path.read_text(encoding="utf-8")[:100], encoding="utf-8")
    return "package.json"


def _without_entry(application: Path) -> str:
    (application / CODE / "descriptor.json").write_text("{}", encoding="utf-8")
    return "descriptor"


def _with_an_entry_that_is_not_there(application: Path) -> str:
    path = application / CODE / "descriptor.json"
    descriptor = json.loads(path.read_text(encoding="utf-8"))
    descriptor["runtimeDescriptor"]["entry"]["name"] = "/panorama/elsewhere.py"
    path.write_text(json.dumps(descriptor), encoding="utf-8")
    return "/panorama/elsewhere.py"


BROKEN = {
    "no source": _without_source,
    "no descriptor": _without_descriptor,
    "torn package": _with_a_torn_package,
    "no entry": _without_entry,
    "entry elsewhere": _with_an_entry_that_is_not_there,
}


@pytest.mark.parametrize("how", BROKEN)
def test_an_application_directory_that_is_broken(
    how: str, application: Path, runs: Any, make_plan: Any
) -> None:
    plan = make_plan("process", deploy="counter", application=application, **SCALE)
    named = BROKEN[how](application)  # after the scenario was found to be right
    ran = runs(plan)
    ends_in_good_order(ran)
    ok, error = ran.steps()["deploy counter (people-counter) on north"]
    assert not ok
    assert named in error
    assert ran.of("node.started") == []


def test_an_application_that_writes_rubbish_to_the_harness(
    application: Path, runs: Any, make_plan: Any
) -> None:
    """The pipe to the harness is open in its process: what it writes there ends no run."""
    source = application / CODE / "src/application.py"
    rubbish = """\
import os
telemetry = int(os.environ["HARNESS_APPLICATION_FILES"].split(":")[1])
os.write(telemetry, b'rubbish\\n[1, 2]\\n{"kind": "Nonsense"}\\n{"kind": "Counts"}\\n')
os.write(telemetry, b'{"kind": "CameraConnected", "camera": "no", "connection": 1, "at_s": 1}\\n')
"""
    source.write_text(rubbish + source.read_text(encoding="utf-8"), encoding="utf-8")
    ran = runs(make_plan("process", deploy="counter", application=application))
    assert ran.error is None
    assert ran.outcome == ("completed", "")
    assert {event.values["camera"] for event in ran.of("camera.connected")} == {"door"}


# --- firmware ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("altered", "at", "reason"),
    [
        ("images/7.0.13/payload", 5000, "image 7.0.13: hash "),
        ("images/7.0.13/manifest", 0, r"image 7.0.13: manifest: \d+ bytes with hash "),
        ("images/7.0.13/manifest", 200, r"image 7.0.13: manifest: \d+ bytes with hash "),
        ("metadata/timestamp.json", 120, "timestamp metadata: signed by 0 of the 1 keys needed"),
        ("metadata/2.targets.json", 300, "targets metadata: hash "),
    ],
)
def test_firmware_that_was_altered_in_the_store_is_refused(
    altered: str, at: int, reason: str, clouds: list[CloudServer], runs: Any, make_plan: Any
) -> None:
    def listen(event: Event) -> None:
        if event.kind == "cloud.job" and event.values["status"] == "PENDING":
            alter(clouds, FIRMWARE_BUCKET, lambda key: key == altered, at)

    plan = make_plan("process", workload=[{"update": UPDATE}], images=IMAGES, **SCALE)
    ran = runs(plan, listen=listen)
    ends_in_good_order(ran)
    (ended,) = ran.of("ota.ended")
    assert ended.values["outcome"] == "refused"
    assert re.match(reason, ended.values["reason"])
    ok, error = ran.steps()["update north to 7.0.13, to be committed"]
    assert not ok
    assert re.match(f"the update ended refused, expected committed: {reason}", error)
    # It never left the firmware it came with.
    assert [event.values["version"] for event in ran.of("appliance.booted")] == ["6.2.1"]
    assert ran.of("cloud.job")[-1].values["status"] == "FAILED"


def test_a_job_that_is_cancelled_while_its_image_comes(
    clouds: list[CloudServer], runs: Any, make_plan: Any
) -> None:
    def listen(event: Event) -> None:
        if event.kind == "job.reported" and event.values["status"] == "DOWNLOADING":
            clouds[-1].plane.cancel_job(event.values["job"], force=True)

    plan = make_plan("process", workload=[{"update": UPDATE}], images=IMAGES, **SCALE)
    ran = runs(plan, listen=listen)
    ends_in_good_order(ran)
    (ended,) = ran.of("ota.ended")
    assert (ended.values["outcome"], ended.values["reason"]) == (
        "cancelled",
        "the job was cancelled",
    )
    assert [event.values["version"] for event in ran.of("appliance.booted")] == ["6.2.1"]
    assert ran.of("cloud.job")[-1].values["status"] == "FAILED"


# --- the machine it runs on ----------------------------------------------------------------------


def test_a_port_that_is_in_use(monkeypatch: pytest.MonkeyPatch, runs: Any, make_plan: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        taken = functools.partial(CloudServer, api_port=port)
        monkeypatch.setattr(engine_module, "CloudServer", taken)
        ran = runs(make_plan("process", **SCALE))
    assert isinstance(ran.error, InputError)
    assert f"cannot listen on 127.0.0.1:{port} (api)" in str(ran.error)
    assert ran.error.hint
    assert ran.outcome == ("failed", f"InputError: {ran.error}")
    assert ran.left == []


@pytest.mark.parametrize(
    "when",
    [
        "provision.ended",
        "cloud.device",
        "node.started",
        "camera.connected",
        "frames.window",
        "run.ended",
    ],
)
def test_a_history_that_cannot_be_written_ends_the_run(
    when: str, runs: Any, make_plan: Any
) -> None:
    """Whatever fails inside the harness, in whichever task: all that ran is taken down."""

    def listen(event: Event) -> None:
        if event.kind == when and event.values.get("status") != "AWAITING_PROVISIONING":
            raise EngineError("no space left on device", hint="make room")

    ran = runs(make_plan("process", deploy="counter", **SCALE), listen=listen)
    assert isinstance(ran.error, EngineError)
    assert str(ran.error) == "no space left on device"
    assert ran.left == []
    assert ran.history.events[-1].kind == "run.ended"
    assert len(ran.of("run.ended")) == 1
