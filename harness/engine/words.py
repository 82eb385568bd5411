"""Steps in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.scenario.plan import (
    CollectLogs,
    Deploy,
    Deregister,
    Inject,
    Observe,
    Parallel,
    PauseCameras,
    PowerOn,
    Provision,
    Reboot,
    Remove,
    Restore,
    ResumeCameras,
    Shutdown,
    Update,
)

if TYPE_CHECKING:
    from harness.scenario.plan import Step


def describe(step: Step) -> str:
    """One line about a step, as history, progress and reports show it."""
    match step:
        case Provision():
            return f"provision {step.appliance}"
        case Deploy():
            return f"deploy {step.instance} ({step.application}) on {step.appliance}"
        case Remove():
            return f"remove {step.instance}"
        case Update():
            return f"update {step.appliance} to {step.image}, to be {step.expect}"
        case Reboot():
            return f"reboot {step.appliance}"
        case Shutdown():
            return f"shut down {step.appliance}"
        case PowerOn():
            return f"power on {step.appliance}"
        case Restore():
            return f"restore {step.appliance} to {step.what}"
        case Inject():
            return f"{step.fault.kind} on {step.fault.target} for {step.fault.for_s:g} s"
        case Deregister():
            return f"deregister {step.appliance}"
        case CollectLogs():
            return f"collect logs of {step.appliance}"
        case PauseCameras():
            return f"pause {', '.join(step.cameras)} of {step.instance}"
        case ResumeCameras():
            return f"resume {', '.join(step.cameras)} of {step.instance}"
        case Observe():
            return f"observe for {step.duration_s:g} s"
        case Parallel():
            return f"{len(step.branches)} branches"
