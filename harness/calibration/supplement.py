"""Kernels that the published descriptors leave out because they hold no multiplication.

DenseNet normalises every concatenation before the convolution that reads it, which no compiler
folds into weights, and older TensorRT copies each earlier feature map into each concatenation.
A ShuffleNet unit splits, joins and shuffles its channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.jetson.network import CONCAT, CONVOLUTION, COPY, Layer

if TYPE_CHECKING:
    from collections.abc import Sequence

DENSE_BLOCKS = {
    "densenet121": (6, 12, 24, 16),
    "densenet161": (6, 12, 36, 24),
    "densenet169": (6, 12, 32, 32),
    "densenet201": (6, 12, 48, 32),
}
SHUFFLE_MOVES = 5  # two slices, two copies of a concatenation, one transposition


def supplement(name: str, layers: Sequence[Layer]) -> tuple[Layer, ...]:
    if name in DENSE_BLOCKS:
        return _dense(DENSE_BLOCKS[name], layers)
    if name.startswith("shufflenet"):
        return tuple(
            Layer(COPY, 0, layer.outputs, layer.outputs, 0, repeat=SHUFFLE_MOVES)
            for layer in layers
            if layer.depthwise
        )
    return ()


def _dense(blocks: tuple[int, ...], layers: Sequence[Layer]) -> tuple[Layer, ...]:
    later = [layer for layer in layers if layer.kind == CONVOLUTION][1:]
    normalised = [Layer(COPY, 0, layer.inputs, layer.inputs, 0) for layer in later]
    copies = sum(block * (block + 1) // 2 for block in blocks)
    moved = sum(layer.inputs for layer in later if layer.kernel == 1) / copies
    return (*normalised, Layer(CONCAT, 0, moved, moved, 0, repeat=copies))
