"""What an application tells of every so many frames, as the vendor's sample application does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Epoch:
    """The times of the frames since the last one was told. `length` 0: nothing is ever told."""

    length: int
    since_s: float = 0.0
    number: int = 1
    frames: int = 0
    inference_ms: list[float] = field(default_factory=list)
    frame_ms: list[float] = field(default_factory=list)

    def add(self, inference_ms: float, frame_ms: float) -> None:
        if self.length:
            self.frames += 1
            self.inference_ms.append(inference_ms)
            self.frame_ms.append(frame_ms)

    @property
    def full(self) -> bool:
        return 0 < self.length <= self.frames

    def told(self, now_s: float) -> dict[str, Any]:
        """The values of an `app.epoch` event; the next epoch begins."""
        values = {
            "number": self.number,
            "frames": self.frames,
            "duration_s": round(now_s - self.since_s, 6),
            "inference_mean_ms": round(sum(self.inference_ms) / self.frames, 3),
            "inference_max_ms": round(max(self.inference_ms), 3),
            "frame_mean_ms": round(sum(self.frame_ms) / self.frames, 3),
            "frame_max_ms": round(max(self.frame_ms), 3),
        }
        self.number += 1
        self.since_s = now_s
        self.frames = 0
        self.inference_ms.clear()
        self.frame_ms.clear()
        return values
