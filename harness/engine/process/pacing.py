"""`timing: jetson`: how long the calls of applications take on their appliances.

What a call costs alone, on the fastest mode, comes from the deployment's `work`, else from the
performance model, else from the appliance's profile. What it then takes is up to the modelled
board: power mode, whatever else runs, and temperature (`harness.engine.board`). Applications are
told anew whenever that changes. The first call of each life takes longer by `first_inference`
of the work, else by the time the profile gives for loading a model.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from harness.calibration.case import REFERENCE_SOFTWARE, Case
from harness.calibration.model import load
from harness.calibration.onnx_work import describe
from harness.calibration.predict import measured_as, predict
from harness.engine.board import LOOK_S, Board, works
from harness.errors import CapabilityMissing, InputError
from harness.record import kind
from harness.scenario import shipped_hardware
from harness.scenario.plan import WorkPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harness.calibration.model import Model
    from harness.jetson.load import Settled
    from harness.jetson.profile import Profile
    from harness.runtime.spec import ModelFile
    from harness.scenario.plan import AppliancePlan, CameraPlan, Plan

LOOK_S_MIN = 0.5  # of the wall's time
CHANGED = 0.005  # less of a change is not told
_PRECISIONS = {"FP16": "fp16", "FP32": "fp32", "INT8": "int8"}


@dataclass(frozen=True, slots=True)
class Cost:
    """What an application's calls cost alone, on the fastest mode of its appliance."""

    work: WorkPlan
    calls_ms: Mapping[str, float]
    first_more_ms: float
    origin: str
    beyond: tuple[str, ...]


class Paced(Protocol):
    instance: str

    def pace(self, paces: Mapping[str, tuple[float, float]]) -> None: ...


@dataclass(eq=False)
class _Running:
    node: Paced
    cost: Cost
    cameras: tuple[CameraPlan, ...]
    told: Mapping[str, float]


class Pacing:
    """Of all appliances of a plan. `elapsed` is engine time in seconds."""

    def __init__(
        self,
        plan: Plan,
        note: Callable[[str, str, Mapping[str, Any]], None],
        elapsed: Callable[[], float],
        name: Callable[[str], str],
    ) -> None:
        known: dict[object, Settled] = {}
        self._note = note
        self._elapsed = elapsed
        self._name = name
        self._scale = plan.time_scale
        self._plans = {appliance.name: appliance for appliance in plan.appliances}
        self._boards = {one.name: Board(one, 0.0, known) for one in plan.appliances}
        self._cameras = {camera.name: camera for camera in plan.cameras}
        self._works = works(plan)
        self._running: dict[str, list[_Running]] = {name: [] for name in self._plans}

    def cost(self, appliance: str, instance: str, models: Sequence[ModelFile]) -> Cost:
        """Slow at its first call: to be called outside the event loop."""
        plan = self._plans[appliance]
        work = self._works.get(self._name(instance))
        if work is not None:
            share_ms = work.inference_s * 1e3 / max(1, len(models))
            calls = {model.node: share_ms for model in models}
            return Cost(work, calls, work.first_inference_s * 1e3, "work", ())
        calls, beyond, origin = _predicted(plan, models)
        usual = self._boards[appliance].usual()
        total_s = sum(calls.values()) / 1e3 or usual.inference_s
        work = WorkPlan(host_s=usual.host_s, inference_s=total_s)
        return Cost(work, calls, plan.profile.model_load_s * 1e3 / self._scale, origin, beyond)

    def started(self, appliance: str, node: Paced, cost: Cost, cameras: Sequence[str]) -> None:
        """It runs from now on, and everybody else on the appliance is slowed by it."""
        read = tuple(self._cameras[name] for name in cameras)
        self._running[appliance].append(_Running(node, cost, read, {}))
        self._settle(appliance)

    def stopped(self, appliance: str, node: Paced) -> None:
        before = self._running[appliance]
        self._running[appliance] = [one for one in before if one.node is not node]
        if len(before) != len(self._running[appliance]):
            self._settle(appliance)

    async def run(self) -> None:
        """Look at the boards' heat for ever."""
        while True:
            await asyncio.sleep(max(LOOK_S / self._scale, LOOK_S_MIN))
            for appliance, board in self._boards.items():
                if self._running[appliance]:
                    self._look(appliance, board)

    def _now_s(self) -> float:
        """Modelled time: as fast as the appliance's other modelled durations."""
        return self._elapsed() * self._scale

    def _look(self, appliance: str, board: Board) -> None:
        was = board.heat.throttled
        changed = board.look(self._now_s(), powered=True)
        source = f"appliance/{appliance}"
        if (window := board.window()) is not None:
            self._note(source, kind.BOARD, window)
        if board.heat.throttled != was:
            told = kind.THROTTLED if board.heat.throttled else kind.UNTHROTTLED
            self._note(source, told, {"temperature_c": round(board.heat.temperature_c, 3)})
        if changed:
            self._settle(appliance)

    def _settle(self, appliance: str) -> None:
        board, running = self._boards[appliance], self._running[appliance]
        if not running:
            board.rest(self._now_s())
            return
        board.look(self._now_s(), powered=True)
        paces = board.paces([(one.cost.work, one.cameras) for one in running])
        for one, pace in zip(running, paces, strict=True):
            alone_s = one.cost.work.inference_s
            slower = pace.inference_s / alone_s if alone_s > 0 else 1.0
            self._tell(one, {node: ms * slower for node, ms in one.cost.calls_ms.items()})

    def _tell(self, one: _Running, calls_ms: Mapping[str, float]) -> None:
        same = one.told and all(
            abs(ms - one.told[node]) <= CHANGED * ms for node, ms in calls_ms.items()
        )
        if same or not calls_ms:
            return
        one.told = calls_ms
        first_ms = one.cost.first_more_ms
        one.node.pace({node: (ms, first_ms) for node, ms in calls_ms.items()})
        values = {
            "instance": one.node.instance,
            "models": {node: round(ms, 3) for node, ms in calls_ms.items()},
            "first_ms": round(first_ms, 3),
            "origin": one.cost.origin,
            "beyond": list(one.cost.beyond),
        }
        self._note(f"app/{self._name(one.node.instance)}", kind.APP_PACE, values)


def _predicted(
    plan: AppliancePlan, models: Sequence[ModelFile]
) -> tuple[dict[str, float], tuple[str, ...], str]:
    """Milliseconds a call of each model on the fastest mode, what that extrapolates, and origin."""
    calls: dict[str, float] = {}
    beyond: dict[str, None] = {}
    try:
        for model in models:
            calls[model.node], reasons = _prediction(plan.profile, model)
            beyond.update(dict.fromkeys(reasons))
    except (InputError, CapabilityMissing) as error:
        usual = {model.node: plan.profile.inference_ms for model in models}
        return usual, (f"no prediction: {error}",), "profile"
    return calls, tuple(beyond), "prediction"


def _prediction(profile: Profile, model: ModelFile) -> tuple[float, tuple[str, ...]]:
    hardware = profile.hardware
    if hardware is None:
        raise InputError(f"profile {profile.name}: no `hardware`")
    fitted = _fitted()
    asked = model.descriptor.get("mlModelDescriptor", {}).get("precisionMode", "FP32")
    made = predict(
        fitted,
        Case(
            device=measured_as(fitted, hardware, hardware.fastest),
            hardware=hardware,
            mode=hardware.fastest,
            network=describe(model.path).network(),
            precision=_PRECISIONS.get(str(asked), "fp32"),
            engine="gpu",
            gpu_batch=1,
            dla_batch=1,
            software=REFERENCE_SOFTWARE,
            variant=REFERENCE_SOFTWARE,
        ),
    )
    return made.mean_ms.value, made.extrapolation


@lru_cache(maxsize=1)
def _fitted() -> Model:
    return load(shipped_hardware())
