"""How a scene looks, as data: light, weather, what stands in the way, what is written over it.

How it is painted is in `harness/camera/picture/scene.py`. Annotations are real here, since
`msgspec` carries camera profiles to processes.
"""

from dataclasses import dataclass
from typing import Final, Literal, get_args

from harness.errors import InputError

Light = Literal["day", "night"]
Weather = Literal["clear", "rain", "snow", "fog"]
Label = Literal["person", "vehicle", "bicycle"]

PERSON: Final = "person"
VEHICLE: Final = "vehicle"
BICYCLE: Final = "bicycle"
LABELS: tuple[Label, ...] = (PERSON, VEHICLE)  # of a scene that is told nothing else
LABELS_KNOWN: tuple[Label, ...] = get_args(Label)
DAY: Final = "day"
NIGHT: Final = "night"
LIGHTS: tuple[Light, ...] = get_args(Light)
CLEAR: Final = "clear"
RAIN: Final = "rain"
SNOW: Final = "snow"
FOG: Final = "fog"
WEATHERS: tuple[Weather, ...] = get_args(Weather)
OCCLUDERS_MAX = 8
CAPTION_CHARS_MAX = 32
FISHEYE_DEG_MAX = 80.0
SIZE_MIN, SIZE_MAX = 0.25, 2.0


@dataclass(frozen=True, slots=True)
class Look:
    """Options of a scene; with none of them a scene is a clear day.

    `occluders` posts and walls stand in front of the objects. `caption` and, with `clock`, the
    time since the start of the clip are written along the lower edge. `fisheye_deg` is half the
    field of view of a fisheye lens, at the corners of the scene; 0 is no fisheye. `size` makes
    objects larger or smaller. Objects of which less than `visibility_min` (a share of their
    area) is seen have no box in the truth.
    """

    light: Light = DAY
    weather: Weather = CLEAR
    occluders: int = 0
    caption: str = ""
    clock: bool = False
    fisheye_deg: float = 0.0
    labels: tuple[Label, ...] = LABELS
    size: float = 1.0
    visibility_min: float = 0.0

    def __post_init__(self) -> None:
        for name, value, known in (
            ("light", self.light, LIGHTS),
            ("weather", self.weather, WEATHERS),
            *(("class", label, LABELS_KNOWN) for label in self.labels),
        ):
            if value not in known:
                raise InputError(f"a scene with {name} {value!r}", hint=f"one of {known}")
        if not self.labels:
            raise InputError("a scene without classes", hint=f"some of {LABELS_KNOWN}")
        for name, number, least, most in (
            ("occluders", self.occluders, 0, OCCLUDERS_MAX),
            ("fisheye_deg", self.fisheye_deg, 0, FISHEYE_DEG_MAX),
            ("size", self.size, SIZE_MIN, SIZE_MAX),
            ("visibility_min", self.visibility_min, 0, 1),
        ):
            if not least <= number <= most:
                raise InputError(f"a scene with {name} {number}", hint=f"{least} to {most}")
        if len(self.caption) > CAPTION_CHARS_MAX or not self.caption.isprintable():
            raise InputError(
                f"a caption of {len(self.caption)} characters",
                hint=f"up to {CAPTION_CHARS_MAX} printable characters",
            )

    @property
    def written(self) -> bool:
        """Whether there is writing along the lower edge."""
        return bool(self.caption) or self.clock


PLAIN = Look()
