"""The application SDK, as unmodified applications import it.

Names and behaviour follow the vendor's SDK reference (developer guide, 2024 edition) and what
public applications rely on: ports exist before, and without, `node.__init__`; `get()` waits for
a new frame; `call()` takes its arguments in either order; labels and rectangles are metadata.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from harness.runtime.display import Shown
from harness.runtime.world import Sighting, world

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.runtime.feed import Arrival, Feed
    from harness.runtime.world import World

__all__ = ["TimeoutException", "media", "node", "port"]

TimeoutException = TimeoutError


class media:
    """A frame of video from one camera.

    `image` is H x W x 3, uint8, BGR, writable; it is decoded into when first looked at.
    """

    def __init__(self, sighting: Sighting, *, is_cached: bool) -> None:
        self._sighting = sighting
        self._image: NDArray[np.uint8] | None = None
        self.is_cached = is_cached
        self.stream_id = sighting.arrival.camera.node
        self.stream_uri = sighting.arrival.camera.url

    @property
    def image(self) -> NDArray[np.uint8]:
        if self._image is None:
            self._image = self._sighting.arrival.picture()
        return self._image

    @image.setter
    def image(self, value: NDArray[np.uint8]) -> None:
        self._image = value

    @property
    def time_stamp(self) -> tuple[int, int]:
        """When the frame was taken: (seconds, microseconds) since the Unix epoch."""
        return divmod(int(self._sighting.arrival.taken_s * 1_000_000), 1_000_000)

    def _drawn(self) -> tuple[Any, list[Any], list[Any]]:
        """For the display: the picture, not converted if nobody looked at it, and what is on it."""
        source = self._sighting.arrival.frame if self._image is None else self._image
        return source, self._sighting.rects, self._sighting.labels

    def add_label(self, text: str, x: float, y: float) -> None:
        """Put `text` at (x, y), each 0..1 of the picture, into the frame's metadata."""
        self._sighting.labels.append((str(text), _share(x), _share(y)))

    def add_rect(self, left: float, top: float, right: float, bottom: float) -> None:
        """Put a rectangle, each side 0..1 of the picture, into the frame's metadata."""
        box = (_share(left), _share(top), _share(right), _share(bottom))
        self._sighting.rects.append(box)


def _share(value: float) -> float:
    """A coordinate kept inside the picture: boxes that reach over its edge are usual."""
    return min(max(float(value), 0.0), 1.0)


class port:
    """An input or output of the code node."""

    def __init__(self, name: str) -> None:
        self.name = name


class _MediaInput(port):
    def __init__(self, name: str, behind: World, feed: Feed) -> None:
        super().__init__(name)
        self._world = behind
        self._feed = feed

    def get(self, timeout: float | None = None) -> list[media]:
        """One `media` a camera, once there is a new frame. Raises `TimeoutError`.

        A camera without a new frame shows its last one, with `is_cached` set.
        """
        taken = self._feed.take(timeout)
        got_s = time.monotonic()
        return [self._media(arrival, got_s, new=new) for arrival, new in taken]

    def _media(self, arrival: Arrival, got_s: float, *, new: bool) -> media:
        emitter = self._world.emitter if new else None
        return media(Sighting(arrival, got_s, emitter=emitter), is_cached=not new)


class _ParameterInput(port):
    def __init__(self, name: str, value: str | float | bool) -> None:
        super().__init__(name)
        self._value = value

    def get(self, timeout: float | None = None) -> str | float | bool:
        """The parameter's value, of the type its node declares; never waits."""
        return self._value


class _MediaOutput(port):
    def __init__(self, name: str, behind: World) -> None:
        super().__init__(name)
        self._world = behind

    def put(self, streams: list[media]) -> None:
        """Hand frames to the display. Raises `ValueError` when there is none."""
        put_s = time.monotonic()
        frames = list(streams)
        if not frames:
            raise ValueError(f"outputs.{self.name}.put([]): nothing to show")
        for frame in frames:
            if not isinstance(frame, media):
                raise TypeError(
                    f"outputs.{self.name}.put() takes a list of media, not {type(frame).__name__}"
                )
        shown = [Shown(*frame._drawn()) for frame in frames]
        for frame in frames:
            frame._sighting.tell(put_s)
        self._world.display.put(self.name, shown)


class _Ports:
    """Ports as attributes; `what` is `inputs` or `outputs` of the node."""

    def __init__(self, what: str, ports: list[port]) -> None:
        self._what = what
        self.__dict__.update({entry.name: entry for entry in ports})

    def __getattr__(self, name: str) -> NoReturn:
        known = ", ".join(sorted(key for key in self.__dict__ if key != "_what")) or "none"
        raise AttributeError(f"node has no port {name!r} among its {self._what}: {known}")


class node:
    """The application's connection to its cameras, models, parameters and display."""

    inputs: Any
    outputs: Any
    _world: World

    def __new__(cls, *args: object, **options: object) -> node:
        """Ports exist from here on: applications do not always call `__init__` of this class."""
        self = super().__new__(cls)
        behind = self._world = world()
        sources: list[port] = [_MediaInput(n, behind, feed) for n, feed in behind.feeds.items()]
        sources += [_ParameterInput(n, value) for n, value in behind.spec.parameters.items()]
        self.inputs = _Ports("inputs", sources)
        self.outputs = _Ports(
            "outputs", [_MediaOutput(name, behind) for name in behind.spec.outputs]
        )
        return self

    def call(self, first: Any, second: Any, time_out: float | None = None) -> tuple[Any, ...]:
        """Run the model node `second` on `first`: {input: array}, an array or a `media`.

        The vendor's reference states the two the other way round; both orders work. Raises
        `KeyError` for an unknown node and `TimeoutError` after `time_out` seconds.
        """
        given, name = (second, first) if isinstance(first, str) else (first, second)
        models = self._world.models
        if name not in models:
            raise KeyError(f"no model node {name!r}; the graph has {sorted(models)}")
        if isinstance(given, media):
            given = given.image
        elif isinstance(given, Mapping):
            given = {k: v.image if isinstance(v, media) else v for k, v in given.items()}
        return models[name].run(given, time_out)
