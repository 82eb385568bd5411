"""The application that comes along: its model is what its builder builds, and it finds things."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from harness.camera.picture.clip import ClipSpec, load_clip
from harness.camera.picture.scene import Box
from harness.camera.picture.score import Score, score
from harness.runtime import process
from harness.runtime.session import open_session

if TYPE_CHECKING:
    from types import ModuleType

    from harness.runtime.process import ModelFile

PEOPLE_COUNTER = Path(__file__).parents[2] / "fixtures/apps/people-counter"
SOURCE = PEOPLE_COUNTER / "packages/123456789012-people_counter_code-1.0/src/application.py"


def load(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(process.__file__).parent / "sdk"))
    yield load(SOURCE, "people_counter_application")
    sys.modules.pop("panoramasdk", None)


def test_the_committed_model_is_what_its_builder_builds(model_file: ModelFile) -> None:
    builder = load(PEOPLE_COUNTER / "build_model.py", "people_counter_build_model")
    assert model_file.path.read_bytes() == builder.build()


@pytest.mark.parametrize(
    ("width", "height", "objects", "bitrate_kbps"),
    [(640, 360, 2, 140), (640, 360, 5, 800), (1280, 720, 4, 2000)],
)
def test_it_finds_what_the_scene_shows(
    application: Any,
    model_file: ModelFile,
    tmp_path: Path,
    width: int,
    height: int,
    objects: int,
    bitrate_kbps: int,
) -> None:
    """Precision and recall of at least 0.9 at IoU 0.5, on decoded H.264."""
    session = open_session(model_file)
    total = Score(0, 0, 0)
    for seed in (11, 12):
        spec = ClipSpec(
            width_px=width,
            height_px=height,
            rate_fps=10,
            duration_s=2,
            gop_frames=10,
            bitrate_kbps=bitrate_kbps,
            objects=objects,
            seed=seed,
        )
        clip = load_clip(spec, tmp_path)
        decoder = av.CodecContext.create("h264", "r")
        data = [b"".join(b"\0\0\0\1" + nal for nal in u.nals) for u in clip.access_units]
        frames = [frame for unit in data for frame in decoder.decode(av.Packet(unit))]
        frames += decoder.decode(None)
        assert len(frames) == len(clip.access_units)
        for index, frame in enumerate(frames):
            image = frame.to_ndarray(format="bgr24")
            (heat,) = session.run({"image": application.prepare(image)})
            found = application.detections(heat, 0.5)
            total += score([Box(label, *box) for label, _, *box in found], clip.truth(index))
    assert total.precision is not None
    assert total.recall is not None
    assert total.precision >= 0.9
    assert total.recall >= 0.9


def test_an_empty_street_shows_nothing(application: Any, model_file: ModelFile) -> None:
    grey = np.random.default_rng(1).integers(70, 160, (360, 640, 1)).astype(np.uint8)
    image = np.repeat(grey, 3, axis=2)
    (heat,) = open_session(model_file).run({"image": application.prepare(image)})
    assert application.detections(heat, 0.5) == []


def test_components_join_what_touches_and_part_what_does_not(application: Any) -> None:
    rows = ["##..#", "#...#", "###.#", "....#", "#.#.#"]
    mask = np.array([[cell == "#" for cell in row] for row in rows])
    boxes = sorted(tuple(box) for box in application.components(mask))
    assert boxes == [(0, 0, 3, 3, 6), (0, 4, 1, 5, 1), (2, 4, 3, 5, 1), (4, 0, 5, 5, 5)]
    u_shape = np.array([[1, 0, 1], [1, 0, 1], [1, 1, 1]], bool)
    assert application.components(u_shape) == [[0, 0, 3, 3, 7]]
    assert application.components(np.zeros((4, 4), bool)) == []
