"""What is going on in a run, gathered from its events: the state that live views show."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.record import kind

if TYPE_CHECKING:
    from harness.record.event import Event
    from harness.scenario.plan import Plan


@dataclass(slots=True)
class ApplianceNow:
    state: str = "off"
    firmware: str = ""
    led: str = ""
    note: str = ""
    rate_fps: dict[tuple[str, str], float] = field(default_factory=dict)


@dataclass(slots=True)
class Progress:
    """Fed with every event, in order; holds only what is true now."""

    appliances: dict[str, ApplianceNow]
    cameras: dict[str, int]
    homes: dict[str, str] = field(default_factory=dict)  # instance -> appliance
    phase: str = ""
    steps: dict[str, str] = field(default_factory=dict)  # running steps by index
    steps_done: int = 0
    faults: dict[str, str] = field(default_factory=dict)
    t_s: float = 0.0
    screens: str = ""  # where they can be watched

    @classmethod
    def of(cls, plan: Plan) -> Progress:
        appliances = {one.name: ApplianceNow(firmware=one.firmware) for one in plan.appliances}
        return cls(appliances, {camera.name: 0 for camera in plan.cameras})

    def see(self, event: Event) -> None:
        self.t_s = max(self.t_s, event.t_s)
        room, _, name = event.source.partition("/")
        if room == "appliance" and name in self.appliances:
            self._appliance(name, self.appliances[name], event)
        elif event.kind == kind.FRAMES:
            self._frames(event)
        else:
            self._run(event)

    def _appliance(self, name: str, now: ApplianceNow, event: Event) -> None:
        values = event.values
        if event.kind == kind.STATE:
            now.state = values["state"]
        elif event.kind == kind.LED and values["led"] == "status":
            off = values["pattern"] == "off"
            now.led = "off" if off else f"{values['colour']} {values['pattern']}"
        elif event.kind == kind.BOOTED:
            now.firmware = values["version"]
        elif event.kind == kind.STOPPED:
            now.state, now.led, now.rate_fps = "off", "off", {}
        elif event.kind == kind.OTA_PHASE:
            now.note = f"update: {values['phase']}"
        elif event.kind == kind.OTA_ENDED:
            now.note = f"update {values['outcome']}"
        elif event.kind == kind.NODE_STARTED:
            self.homes[values["instance"]] = name
        elif event.kind == kind.NODE_ENDED:
            gone = values["instance"]
            now.rate_fps = {key: fps for key, fps in now.rate_fps.items() if key[0] != gone}

    def _frames(self, event: Event) -> None:
        values = event.values
        camera, instance = values["camera"], values["instance"]
        self.cameras[camera] = self.cameras.get(camera, 0) + values["delivered"]
        length_s = values["to_s"] - values["from_s"]
        home = self.appliances.get(self.homes.get(instance, ""))
        if home is not None and length_s > 0:
            home.rate_fps[instance, camera] = values["delivered"] / length_s

    def _run(self, event: Event) -> None:
        values = event.values
        if event.kind == kind.PHASE_STARTED:
            self.phase = values["phase"]
        elif event.kind == kind.DISPLAY_PAGE:
            self.screens = values["url"]
        elif event.kind == kind.STEP_STARTED:
            self.steps[values["index"]] = values["step"]
        elif event.kind == kind.STEP_ENDED:
            self.steps.pop(values["index"], None)
            self.steps_done += 1
        elif event.kind == kind.FAULT_INJECTED:
            label = values.get("label") or values["fault_kind"]
            self.faults[values["fault"]] = f"{label} ({values['target']})"
        elif event.kind == kind.FAULT_HEALED:
            self.faults.pop(values["fault"], None)

    def step_text(self) -> str:
        """The steps that run now; inside `parallel` the branches, not the whole."""
        inner = [
            text
            for index, text in self.steps.items()
            if not any(other.startswith(f"{index}.") for other in self.steps)
        ]
        return " | ".join(inner)

    def line(self) -> str:
        """Everything in one line, for logs."""
        parts = [f"{self.t_s:7.1f} s", self.phase or "start"]
        if self.steps:
            parts.append(self.step_text())
        for name, now in self.appliances.items():
            facts = [now.state, now.firmware]
            if now.rate_fps:
                facts.append(f"{sum(now.rate_fps.values()):.0f} FPS")
            parts.append(f"{name} {', '.join(facts)}")
        if self.screens:
            parts.append(f"screens {self.screens}")
        if self.faults:
            parts.append(f"faults: {', '.join(self.faults.values())}")
        return "  ".join(parts)
