"""What a deployed application's frames cost in virtual time."""

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from harness.jetson.profile import Profile
from harness.scenario.part import Part
from harness.scenario.plan import WorkPlan
from harness.scenario.quantity import Duration, Size, Span, wrong


def _pixels(value: object) -> object:
    if isinstance(value, str) and (found := _PICTURE.fullmatch(value)):
        return int(found[1]) * int(found[2])
    raise wrong("a picture has a width and a height", "such as 1920x1080")


_PICTURE = re.compile(r"([1-9][0-9]{1,3})x([1-9][0-9]{1,3})", re.ASCII)
Picture = Annotated[int, BeforeValidator(_pixels, json_schema_input_type=str)]
Frames = Annotated[int, Field(ge=0, le=1_000_000)]


class WorkFile(Part):
    """What is left out costs what the appliance's profile says."""

    host: Span | None = Field(default=None, description="a frame on the CPU")
    inference: Span | None = Field(default=None, description="a frame on the accelerator")
    loop: Duration = Field(default=0.0, description="a loop besides, whatever its frames")
    engine: Literal["gpu", "dla"] = Field(default="gpu", description="the accelerator")
    encode: Picture | None = Field(
        default=None, description='the picture that each frame is encoded again as, "1920x1080"'
    )
    first_inference: Duration = Field(default=0.0, description="what the first one takes more")
    cold_host: Duration = Field(default=0.0, description="a frame on the CPU at first")
    cold_frames: Frames = Field(default=0, description="frames that cost `cold_host`")
    epoch_frames: Frames = Field(default=0, description="frames after which it tells its times")
    memory: Size = Field(default=600 << 20, description="what it holds; default 600MiB")
    console: Size | None = Field(default=None, description="what it prints in a second")

    def made(self, profile: Profile) -> WorkPlan:
        return WorkPlan(
            host_s=profile.host_ms / 1e3 if self.host is None else self.host,
            inference_s=profile.inference_ms / 1e3 if self.inference is None else self.inference,
            loop_s=self.loop,
            engine=self.engine,
            encode_pixels=0.0 if self.encode is None else float(self.encode),
            first_inference_s=self.first_inference,
            cold_host_s=self.cold_host,
            cold_frames=self.cold_frames,
            epoch_frames=self.epoch_frames,
            console_bytes_per_s=self.console or 0,
            resident_bytes=self.memory,
        )
