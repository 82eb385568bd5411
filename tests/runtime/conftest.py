"""Applications, cameras and clips for the runtime's tests."""

from __future__ import annotations

import asyncio
import json
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.camera.picture.clip import Clip, ClipSpec, load_clip
from harness.runtime.process import Application, ApplicationSpec, CameraInput, ModelFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from harness.runtime.sandbox import Isolation

TIMEOUT_S = 15.0
PEOPLE_COUNTER = Path(__file__).parents[2] / "fixtures/apps/people-counter"


@dataclass
class Running:
    """An application and what it told; `until` waits for a message that `wanted` likes."""

    application: Application
    spec: ApplicationSpec
    messages: list[dict[str, Any]] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        self._news.set()

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["kind"] == kind]

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                for message in self.messages:
                    if wanted(message):
                        return message
                self._news.clear()
                await self._news.wait()

    async def until_kind(self, kind: str) -> dict[str, Any]:
        return await self.until(lambda message: message["kind"] == kind)

    async def end(self) -> int:
        async with asyncio.timeout(TIMEOUT_S):
            return await self.application.wait()

    @property
    def said(self) -> list[Any]:
        """What it printed as JSON, one value a line, other lines left out."""
        values = []
        for line in self.application.last_lines:
            try:
                values.append(json.loads(line))
            except ValueError:
                continue
        return values


class Applications:
    """Starts applications from source text; all are killed at the end of the test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.started: list[Running] = []

    async def start(
        self,
        source: str,
        *,
        cameras: tuple[CameraInput, ...] = (),
        parameters: dict[str, Any] | None = None,
        models: tuple[ModelFile, ...] = (),
        entry: tuple[str, ...] = ("python3", "/panorama/application.py"),
        paused: tuple[str, ...] = (),
        isolation: Isolation | None = None,
        paces: dict[str, tuple[float, float]] | None = None,
    ) -> Running:
        home = self.directory / f"app{len(self.started)}"
        (home / "root/panorama").mkdir(parents=True)
        (home / "root/panorama/application.py").write_text(textwrap.dedent(source))
        spec = ApplicationSpec(
            instance="counter",
            root=home / "root",
            entry=entry,
            cameras=cameras,
            parameters=parameters or {},
            models=models,
            outputs=("video_out",),
            displays=("video_out",),
            storage=home / "storage",
            logs=home / "logs",
            region="eu-west-1",
            inputs=("video_in",),
            paused=paused,
            paces=paces or {},
        )
        running = Running(Application(), spec)
        await running.application.start(spec, running.hear, isolation=isolation)
        self.started.append(running)
        return running


@pytest.fixture
async def applications(tmp_path: Path) -> AsyncIterator[Applications]:
    group = Applications(tmp_path)
    yield group
    for running in group.started:
        running.application.kill()
        await running.application.wait()


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """3 s of 640x360 at 15 fps; a key frame every 5, so that readers start at once."""
    spec = ClipSpec(
        width_px=640,
        height_px=360,
        rate_fps=15,
        duration_s=3,
        gop_frames=5,
        bitrate_kbps=800,
        objects=4,
        seed=7,
    )
    return load_clip(spec, tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="session")
def model_file() -> ModelFile:
    directory = PEOPLE_COUNTER / "packages/123456789012-people_counter_model-1.0"
    descriptor = json.loads((directory / "descriptor.json").read_text())
    return ModelFile("detector", directory / "model.onnx", descriptor)
