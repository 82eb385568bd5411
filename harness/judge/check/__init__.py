"""All checkers by the name that scenario files use."""

from __future__ import annotations

from types import MappingProxyType

from harness.judge.check.device import (
    check_applications_return,
    check_ota_truthful,
    check_slots_safe,
)
from harness.judge.check.fault import check_converges, check_faults_bite, check_recovers
from harness.judge.check.frames import check_detections, check_frames_account
from harness.judge.check.run import check_reached, check_run, check_steps
from harness.judge.checker import Checker

_ALL = (
    Checker("run", "the run completes", check_run),
    Checker("steps", "every step ends well", check_steps),
    Checker(
        "faults-bite",
        "every fault has an observed effect and is healed",
        check_faults_bite,
        frozenset({"planned"}),
    ),
    Checker("recovers", "the site recovers from every healed fault", check_recovers),
    Checker(
        "converges",
        "in the end all appliances are online and all streams deliver",
        check_converges,
    ),
    Checker(
        "slots-safe",
        "one active bootable slot, which is the one that runs; fuses never go back",
        check_slots_safe,
    ),
    Checker(
        "ota-truthful",
        "appliance and cloud report of an update what really runs",
        check_ota_truthful,
    ),
    Checker(
        "applications-return",
        "after every boot each application starts and gets frames again",
        check_applications_return,
        frozenset({"within_s"}),
    ),
    Checker(
        "frames-account",
        "every frame sent is delivered, lost, dropped, skipped or in flight",
        check_frames_account,
    ),
    Checker(
        "detections",
        "precision and recall reach their minimum",
        check_detections,
        frozenset({"precision_min", "recall_min"}),
    ),
    Checker("reached", "each kind happens at least once", check_reached, frozenset({"kinds"})),
)

CHECKERS = MappingProxyType({checker.name: checker for checker in _ALL})
