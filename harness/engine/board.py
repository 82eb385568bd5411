"""An appliance's modelled board: how its applications settle, what it draws, its heat.

Rates change only when an application or a stream comes or goes, or when heat takes clocks away,
so they are worked out then and kept. Heat is looked at every 10 s while applications run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.jetson.hardware import power_mode
from harness.jetson.heat import Heat, after, governed
from harness.jetson.load import Load, Pace, Settled, Stream, Work, settle
from harness.scenario.plan import Deploy, Parallel, WorkPlan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.scenario.plan import AppliancePlan, CameraPlan, Plan, Step

LOOK_S = 10.0


class Board:
    """Of one appliance. A profile without hardware has no heat, and shares nothing."""

    def __init__(self, plan: AppliancePlan, now_s: float, known: dict[object, Settled]) -> None:
        """`known` keeps what was worked out; appliances of a site share it."""
        self.profile = plan.profile
        self.hardware = plan.profile.hardware
        self.ambient_c = plan.ambient_c
        self.mode = power_mode(self.hardware, plan.power_mode) if self.hardware else None
        self.heat = Heat(plan.ambient_c)
        self.settled: Settled | None = None
        self.throttles = True  # as firmware wants it
        self._seen_s = now_s
        self._known = known

    def usual(self) -> WorkPlan:
        """What a frame costs on the profile."""
        profile = self.profile
        return WorkPlan(host_s=profile.host_ms / 1e3, inference_s=profile.inference_ms / 1e3)

    def paces(self, loads: Sequence[tuple[WorkPlan, Sequence[CameraPlan]]]) -> list[Pace]:
        """How fast each application runs from now on."""
        made = tuple(Load(self._work(work), _streams(cameras)) for work, cameras in loads)
        if self.hardware is None or self.mode is None:
            return [_alone(load) for load in made]
        key = (self.hardware.name, self.mode, made, self.heat.clock_share)
        if key not in self._known:
            self._known[key] = settle(self.hardware, self.mode, made, self.heat.clock_share)
        self.settled = self._known[key]
        return list(self.settled.paces)

    def rest(self, now_s: float) -> None:
        """No application runs any more."""
        self.look(now_s, powered=True)
        self.settled = None

    def _work(self, work: WorkPlan) -> Work:
        """Costs are those of the fastest mode; in another they grow as its clocks fall."""
        gpu, cpu = 1.0, 1.0
        if self.hardware is not None and self.mode is not None:
            fastest, mode = self.hardware.fastest, self.mode
            cpu = fastest.cpu_mhz / mode.cpu_mhz
            gpu = fastest.gpu_mhz * fastest.gpu_sms / (mode.gpu_mhz * mode.gpu_sms)
            if work.engine == "dla":
                gpu = fastest.dla_mhz / mode.dla_mhz
        return Work(
            host_s=work.host_s * cpu,
            inference_s=work.inference_s * gpu,
            engine=work.engine,
            loop_s=work.loop_s * cpu,
            memory_bytes=work.memory_bytes,
            encode_pixels=work.encode_pixels,
        )

    def look(self, now_s: float, *, powered: bool) -> bool:
        """Bring the temperature up to now and govern; whether the clocks changed."""
        if self.hardware is None:
            return False
        busy_w = self.settled.power_w if self.settled else self.hardware.draw.idle_w
        before = self.heat
        warm = after(
            self.hardware.thermal,
            before,
            busy_w if powered else 0.0,
            self.ambient_c,
            now_s - self._seen_s,
        )
        self._seen_s = now_s
        self.heat = governed(self.hardware.thermal, warm) if self.throttles else warm
        return self.heat.clock_share != before.clock_share

    def window(self) -> dict[str, Any] | None:
        """What a `board.window` event says; None where there is nothing to say."""
        settled = self.settled
        if settled is None:
            return None
        return {
            "power_w": round(settled.power_w, 3),
            "temperature_c": round(self.heat.temperature_c, 3),
            "clock_share": round(self.heat.clock_share, 4),
            **{
                part: round(getattr(settled, part), 4)
                for part in ("cpu", "gpu", "dla", "decode", "encode", "memory")
            },
        }

    @property
    def too_hot(self) -> bool:
        hardware = self.hardware
        return hardware is not None and self.heat.temperature_c >= hardware.thermal.shutdown_c


def works(plan: Plan) -> dict[str, WorkPlan]:
    """What frames cost, of the instances whose deployment says so."""
    found: dict[str, WorkPlan] = {}

    def walk(steps: tuple[Step, ...]) -> None:
        for step in steps:
            if isinstance(step, Parallel):
                for branch in step.branches:
                    walk(branch)
            elif isinstance(step, Deploy) and step.work is not None:
                found[step.instance] = step.work

    walk(plan.bring_up)
    walk(plan.workload)
    return found


def _streams(cameras: Sequence[CameraPlan]) -> tuple[Stream, ...]:
    return tuple(Stream(one.rate_fps, one.width_px * one.height_px) for one in cameras)


def _alone(load: Load) -> Pace:
    """A loop that has a whole appliance to itself, whatever it is."""
    frame_s = load.work.host_s + load.work.inference_s
    per_loop_s = frame_s * max(1, len(load.streams)) + load.work.loop_s
    return Pace(1.0 / per_loop_s, frame_s, load.work.inference_s, 1.0)
