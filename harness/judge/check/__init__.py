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
from harness.judge.check.health import (
    check_configuration_kept,
    check_crashes_explained,
    check_display_tiles,
    check_health_truthful,
    check_instances_settle,
    check_log_times,
    check_logs_bounded,
    check_memory_bounded,
    check_names_resolve,
    check_ports_open,
    check_removal_clean,
    check_stops_explained,
    check_usage_plausible,
)
from harness.judge.check.link import check_reconnects_spread, check_streams_steady
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
    Checker("stops-explained", "no appliance stops by itself", check_stops_explained),
    Checker("crashes-explained", "no application ends by itself", check_crashes_explained),
    Checker(
        "configuration-kept",
        "an appliance once provisioned stays so until it is reset",
        check_configuration_kept,
    ),
    Checker("memory-bounded", "the memory in use does not grow", check_memory_bounded),
    Checker("logs-bounded", "no log grows beyond its bound", check_logs_bounded),
    Checker(
        "usage-plausible",
        "what is told of memory and storage is bytes, and can be",
        check_usage_plausible,
    ),
    Checker("removal-clean", "removed applications leave no file", check_removal_clean),
    Checker(
        "instances-settle",
        "in the end every instance is deployed, removed or refused",
        check_instances_settle,
    ),
    Checker(
        "health-truthful",
        "what is told of applications that run is that they run",
        check_health_truthful,
    ),
    Checker("log-times", "lines of logs have the time they were written at", check_log_times),
    Checker("names-resolve", "applications find hosts by name", check_names_resolve),
    Checker("ports-open", "inbound ports lead to their applications", check_ports_open),
    Checker("display-tiles", "the display shows every stream", check_display_tiles),
    Checker(
        "reconnects-spread",
        "a fleet does not come back all at once",
        check_reconnects_spread,
    ),
    Checker("streams-steady", "no camera is lost without a cause", check_streams_steady),
    Checker("reached", "each kind happens at least once", check_reached, frozenset({"kinds"})),
)

CHECKERS = MappingProxyType({checker.name: checker for checker in _ALL})
