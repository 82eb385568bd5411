"""What only makes sense, or does not, across the whole file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.scenario import load

if TYPE_CHECKING:
    from collections.abc import Callable

DEPLOY = "deploy: {application: counter, as: one, on: north, inputs: {camera_in: door}}"
WORK = "- observe: 2s"
UPDATE = "- update: {appliance: north, image: 7.0.13, expect: committed"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("inputs: {camera_in: door}", "inputs: {camera_in: dor}", "did you mean `door`?"),
        ("inputs: {camera_in: door}", "inputs: {camera_in: [door, door]}", "`door` is named twice"),
        ("application: counter,", "application: count,", "unknown application `count`"),
        ("on: north", "on: east", "unknown appliance `east`"),
        ("../apps/counter", "../apps/none", "no application in `../apps/none`"),
        ("firmware: 6.2.1", "firmware: 6.2.1, x: 1", "unknown key `x`"),
        ("provision: [north, south]", "provision: [north, north]", "is named twice"),
        ("provision: [north, south]", "provision: north", "`south` is not provisioned in bring_up"),
        ("{size: 8MiB}", "{size: 7GiB}", "larger than a slot of panorama-appliance"),
        ("{size: 8MiB}", "{size: 8MiB, defects: [health-check]}", "unknown defect `health-check`"),
        (WORK, "- reboot: west", "unknown appliance `west`"),
        (WORK, "- provision: north", "`north` is provisioned already"),
        (WORK, "- remove: two", "`two` is not deployed yet"),
        (WORK, "- remove: one\n  - remove: one", "`one` is removed already"),
        (WORK, f"- {DEPLOY}", "there is an instance `one` already"),
        (WORK, f"- parallel: [[{DEPLOY}], [remove: one]]".replace("one, on", "two, on"), ""),
        (WORK, UPDATE + "}", "6.2.1 to 7.0.13 crosses a major version"),
        (WORK, UPDATE.replace("7.0.13", "7.0.1") + "}", "unknown image `7.0.1`"),
        (WORK, f"{UPDATE}, allow_major: true}}\n  {UPDATE}}}", "runs 7.0.13 already"),
        (
            WORK,
            "- fault: {kind: uplink.lost, target: north, for: 1s}",
            "did you mean `uplink.loss`",
        ),
        (WORK, "- fault: {kind: uplink.loss, target: nord, for: 1s}", "did you mean `north`?"),
        (WORK, "- fault: {kind: uplink.loss, target: north}", "`for` is missing"),
        (
            WORK,
            "- fault: {kind: uplink.loss, target: door, for: 1s}",
            "uplink.loss strikes an appliance, and `door` is a camera",
        ),
        (
            WORK,
            "- fault: {kind: camera.stall, target: yard, for: 1s}",
            "no application reads `yard` when camera.stall comes",
        ),
        (
            WORK,
            "- remove: one\n  - fault: {kind: app.kill, target: one}",
            "`one` is not deployed when app.kill comes",
        ),
        (
            WORK,
            "- fault: {kind: uplink.loss, target: north, for: 1s, parameters: {often: 3}}",
            "unknown parameter of uplink.loss `often`",
        ),
        (
            WORK,
            "- fault: {kind: camera.loss, target: door, for: 1s, parameters: {rate: 2}}",
            "`rate` cannot be `2`\n",
        ),
        (
            WORK,
            "- fault: {kind: camera.loss, target: door, for: 1s, parameters: {rat: 0.1}}",
            "did you mean `rate`?",
        ),
        (
            WORK,
            "- fault: {kind: camera.slow-sdp, target: door, for: 5s, parameters: {delay_s: 2}}",
            "hint: a number, 4 to 300 s: how long an answer takes",
        ),
        (
            WORK,
            "- fault: {kind: camera.password, target: door, for: 1s, parameters: {password: x}}",
            "unknown parameter of camera.password `password`",
        ),
        (
            WORK,
            "- fault: {kind: camera.credentials, target: door, for: 1s}",
            "camera.credentials: anybody may read `door`, a generic-360p15",
        ),
        (
            f"workload:\n  {WORK}",
            "engine: model\nworkload:\n  - fault: {kind: camera.freeze, target: door, for: 1s}",
            "camera.freeze: the model rung knows nothing like it",
        ),
        (
            WORK,
            "- fault: {kind: camera.resolution, target: door, for: 1s, parameters: "
            "{width_px: 321}}",
            "pictures of 321x0 pixels cannot be encoded",
        ),
        (WORK, "- observe: 61s", "the workload alone takes 61 s"),
        (
            "{profile: panorama-appliance, firmware: 6.2.1}",
            "{profile: panorama-appliance, firmware: 6.2.1, power_mode: 99W, ambient_c: 40.0}",
            "panorama-appliance has no power mode '99W'",
        ),
        (
            "{profile: panorama-appliance, firmware: 6.2.1}",
            "{profile: panorama-appliance, firmware: 6.2.1, ambient_c: 99.0}",
            "ambient_c",
        ),
        (
            "inputs: {camera_in: door}",
            "inputs: {camera_in: door}, work: {host: 5ms, inference: 3ms, engine: dla}",
            "",
        ),
        (
            "inputs: {camera_in: door}",
            "inputs: {camera_in: door}, work: {host: quick}",
            "`quick` is not a duration",
        ),
    ],
)
def test_refusals(
    refused: Callable[..., str],
    write: Callable[..., Path],
    old: str,
    new: str,
    message: str,
) -> None:
    if message:
        assert message in refused((old, new))
    else:
        load(write((old, new)))


def nemesis(*faults: str) -> tuple[str, str]:
    return ("checks:", "nemesis:\n" + "".join(f"  - {{{fault}}}\n" for fault in faults) + "checks:")


def test_timed_faults_must_heal_before_the_run_ends(refused: Callable[..., str]) -> None:
    late = nemesis("at: 58s, kind: uplink.loss, target: north, for: 3s")
    assert "uplink.loss outlasts the run" in refused(late)


def test_a_fault_must_heal_before_it_comes_again(refused: Callable[..., str]) -> None:
    twice = nemesis(
        "at: 1s, kind: uplink.loss, target: north, for: 5s",
        "at: 4s, kind: uplink.loss, target: south, for: 5s",
        "at: 5s, kind: uplink.loss, target: north, for: 1s",
    )
    message = refused(twice)
    assert message.count("strikes `north` while it already does") == 1
    assert "south" not in message.replace("target: south", "")


def test_timed_faults_may_strike_what_the_workload_deploys(
    write: Callable[..., Path], refused: Callable[..., str]
) -> None:
    fault = nemesis("at: 1s, kind: camera.stall, target: yard, for: 2s")
    assert "no application reads `yard`" in refused(fault)
    more = DEPLOY.replace("one, on", "two, on").replace("door", "yard")
    load(write(fault, (WORK, f"- {more}")))


def test_an_application_reads_eight_cameras_at_most(refused: Callable[..., str]) -> None:
    names = [f"c{number}" for number in range(9)]
    cameras = "".join(f"    {name}: {{profile: generic-360p15}}\n" for name in names)
    message = refused(
        ("  cameras:\n", "  cameras:\n" + cameras),
        ("camera_in: door", f"camera_in: [{', '.join(names)}]"),
    )
    assert "9 cameras: an application reads at most 8" in message


def test_an_appliance_holds_ten_applications(refused: Callable[..., str]) -> None:
    more = "".join(
        f"  - deploy: {{application: counter, as: more{number}, on: north}}\n"
        for number in range(10)
    )
    assert "`north` holds at most 10 applications" in refused(("workload:\n", "workload:\n" + more))


OLDER = ("{size: 8MiB}", "{size: 8MiB}\n  8.0.29: {size: 8MiB}\n  6.0.8: {size: 8MiB}")
TO_8 = "- update: {appliance: north, image: 8.0.29, expect: committed, allow_major: true}\n"
BACK = "  - update: {appliance: north, image: 6.0.8, expect: committed}"


def test_what_is_older_than_the_fuses_is_refused(
    refused: Callable[..., str], write: Callable[..., Path]
) -> None:
    message = refused(OLDER, (WORK, TO_8 + BACK))
    assert "6.0.8 has fuse level 1, `north` has blown 2" in message
    load(write(OLDER, (WORK, TO_8 + BACK.replace("committed", "refused"))))
    load(write(OLDER, (WORK, TO_8.replace("committed", "rolled-back") + BACK)))


UNFIT = "{size: 8MiB}\n  6.3.0: {size: 8MiB, %s}"
TO_UNFIT = "- update: {appliance: north, image: 6.3.0, expect: committed}"


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("recalled: true", "6.3.0 is recalled"),
        ("minimum_version: 6.2.10", "6.3.0 is installed from 6.2.10 on, this is 6.2.1"),
        ("endpoints: ['ecr.test:443', 'iot.test:443']", "`north` does not reach ecr.test:443"),
    ],
)
def test_what_an_appliance_will_refuse_is_known_before_the_run(
    image: str, reason: str, refused: Callable[..., str], write: Callable[..., Path]
) -> None:
    firewall = ("firmware: 6.2.1}", "firmware: 6.2.1, blocked: ['ecr.test:443']}")
    offered = ("{size: 8MiB}", UNFIT % image)
    assert f"{reason}: the update is refused" in refused(firewall, offered, (WORK, TO_UNFIT))
    load(write(firewall, offered, (WORK, TO_UNFIT.replace("committed", "refused"))))


@pytest.mark.parametrize("endpoint", ["ecr.test", "https://ecr.test:443", "ECR:443", ":443"])
def test_an_endpoint_is_a_host_and_a_port(endpoint: str, refused: Callable[..., str]) -> None:
    assert "endpoints" in refused(("{size: 8MiB}", UNFIT % f"endpoints: ['{endpoint}']"))


def test_branches_of_parallel_do_not_see_each_other(
    refused: Callable[..., str], write: Callable[..., Path]
) -> None:
    deploy = DEPLOY.replace("one, on", "two, on")
    message = refused((WORK, f"- parallel: [[{deploy}], [remove: two]]"))
    assert "`two` is removed already" in message or "`two` is not deployed yet" in message
    load(write((WORK, f"- parallel: [[{deploy}], [observe: 1s]]\n  - remove: two")))


def test_the_factory_firmware_must_fit_the_fuses(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    folder = tmp_path / "device_profiles/appliances"
    folder.mkdir(parents=True)
    ours = Path(__file__).parents[2] / "device_profiles/appliances/lenovo-se70.yaml"
    text = ours.read_text(encoding="utf-8").replace(
        "fuse_level:\n  value: 1", "fuse_level:\n  value: 2"
    )
    (folder / "lenovo-se70.yaml").write_text(text, encoding="utf-8")
    assert "leaves the factory with 2 fuses blown" in refused(("seed: 3", "seed: 4"))
