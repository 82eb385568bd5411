"""The work of a neural network, layer by layer: what the performance model knows of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

GROUPED_WHOLLY = 0.99  # a convolution with this share of groups to channels is depthwise
CONVOLUTION, DENSE, POOL, COPY, CONCAT = "conv", "fc", "pool", "copy", "concat"
KINDS = (CONVOLUTION, DENSE, POOL, COPY, CONCAT)


@dataclass(frozen=True, slots=True)
class Layer:
    """A kernel for one image: multiply-accumulates, and elements in, out and of weights.

    `kernel` counts the taps of a filter (9 for 3x3). `repeat` stands for that many equal layers.
    A `copy` moves elements without arithmetic (shuffle, slice, elementwise work that is not
    fused); a `concat` is a copy that newer compilers avoid by writing in place.
    """

    kind: str
    macs: float
    inputs: float
    outputs: float
    weights: float
    groups: float = 1
    channels_in: float = 0
    channels_out: float = 0
    kernel: float = 0
    repeat: int = 1

    @property
    def arithmetic(self) -> bool:
        return self.kind in (CONVOLUTION, DENSE)

    @property
    def grouped(self) -> bool:
        return self.arithmetic and self.groups > 1

    @property
    def depthwise(self) -> bool:
        return self.grouped and self.groups >= GROUPED_WHOLLY * self.channels_out


@dataclass(frozen=True, slots=True)
class Network:
    """A network at one input size. `origin` says where its layers come from when not exact."""

    name: str
    size: str  # height x width of the input, such as 224x224
    layers: tuple[Layer, ...]
    origin: str = ""

    @property
    def key(self) -> str:
        return f"{self.name}@{self.size}"

    @property
    def macs(self) -> float:
        return sum(layer.macs * layer.repeat for layer in self.layers)

    @property
    def parameters(self) -> float:
        return sum(layer.weights * layer.repeat for layer in self.layers)

    @property
    def kernels(self) -> int:
        return sum(layer.repeat for layer in self.layers)


def scaled(network: Network, key: str, *, width: float = 1.0, origin: str) -> Network:
    """The same layers with `width` times the channels, at the input size that `key` names.

    The image keeps its three channels and the last dense layer its outputs.
    """
    name, _, size = key.rpartition("@")
    area = _area(size) / _area(network.size)
    layers = tuple(_scaled(layer, width, area) for layer in network.layers)
    return Network(name, size, layers, origin)


def _area(size: str) -> float:
    height, _, width = size.partition("x")
    return float(height) * float(width)


def _scaled(layer: Layer, width: float, area: float) -> Layer:
    if not layer.arithmetic:
        moved = area * width
        return replace(layer, inputs=layer.inputs * moved, outputs=layer.outputs * moved)
    width_in = 1.0 if layer.channels_in <= 3 else width
    width_out = width
    if layer.kind == DENSE:
        width_out, area = 1.0, 1.0
    across = width if layer.depthwise else width_in * width_out
    return replace(
        layer,
        macs=layer.macs * area * across,
        inputs=layer.inputs * area * width_in,
        outputs=layer.outputs * area * width_out,
        weights=layer.weights * across,
        groups=layer.groups * width if layer.depthwise else layer.groups,
        channels_in=layer.channels_in * width_in,
        channels_out=layer.channels_out * width_out,
    )
