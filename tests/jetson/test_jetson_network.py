from __future__ import annotations

from dataclasses import replace

import pytest

from harness.jetson.network import CONVOLUTION, DENSE, POOL, Layer, Network, scaled

FIRST = Layer(CONVOLUTION, 27 * 32 * 100, 3 * 400, 32 * 100, 27 * 32, 1, 3, 32, 9)
DEPTHWISE = Layer(CONVOLUTION, 9 * 32 * 100, 32 * 100, 32 * 100, 9 * 32, 32, 32, 32, 9)
POINTWISE = Layer(CONVOLUTION, 32 * 64 * 100, 32 * 100, 64 * 100, 32 * 64, 1, 32, 64, 1)
AVERAGE = Layer(POOL, 0, 64 * 100, 64, 0)
LAST = Layer(DENSE, 64 * 10, 64, 10, 64 * 10, 1, 64, 10, 1)
SMALL = Network("small", "20x20", (FIRST, DEPTHWISE, POINTWISE, AVERAGE, LAST))


def test_totals_count_repeats() -> None:
    twice = Network("twice", "20x20", (replace(POINTWISE, repeat=2), AVERAGE))
    assert twice.macs == 2 * POINTWISE.macs
    assert twice.parameters == 2 * POINTWISE.weights
    assert twice.kernels == 3


def test_what_is_depthwise_and_what_is_grouped() -> None:
    assert DEPTHWISE.depthwise
    assert DEPTHWISE.grouped
    grouped = replace(POINTWISE, groups=4)
    assert grouped.grouped
    assert not grouped.depthwise
    assert not AVERAGE.grouped


def test_another_input_size_scales_work_but_not_weights() -> None:
    larger = scaled(SMALL, "small@40x40", origin="test")
    assert larger.layers[2].macs == 4 * POINTWISE.macs
    assert larger.layers[2].weights == POINTWISE.weights
    assert larger.layers[4].macs == LAST.macs
    assert larger.key == "small@40x40"
    assert larger.origin == "test"


def test_another_width_scales_as_channels_do() -> None:
    half = scaled(SMALL, "half@20x20", width=0.5, origin="test").layers
    assert half[0].macs == FIRST.macs / 2  # the image keeps its channels
    assert half[0].channels_in == 3
    assert half[1].macs == DEPTHWISE.macs / 2
    assert half[1].depthwise
    assert half[2].macs == POINTWISE.macs / 4
    assert half[2].outputs == POINTWISE.outputs / 2
    assert half[4].outputs == LAST.outputs
    assert half[4].macs == pytest.approx(LAST.macs / 2)
