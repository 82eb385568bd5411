"""The work of an ONNX file, in the format of the published descriptors.

A layer is a kernel as a compiler such as TensorRT would make one: convolutions and matrix products
with what is folded into them (bias, batch normalisation, activation, the first addition), pools,
and copies for what moves data without arithmetic. Shapes come from ONNX's own inference; nothing
is run and no weights are read beyond their shapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from harness.calibration.library import LayerRow, NetworkRow
from harness.errors import CapabilityMissing, InputError
from harness.jetson.network import CONCAT, CONVOLUTION, COPY, DENSE, POOL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    Shape = tuple[int, ...]

FILE_BYTES_MAX = 2 << 30
NODES_MAX = 100_000
POOLS = frozenset(
    {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "LpPool"}
)
COPIES = frozenset({"Transpose", "Resize", "Upsample", "Slice", "Split", "Gather", "Pad", "Softmax",
                    "LayerNormalization", "InstanceNormalization"})  # fmt: skip
PRODUCTS = frozenset({"Gemm", "MatMul"})
CONVOLUTIONS = frozenset({"Conv", "ConvTranspose", "ConvInteger", "QLinearConv"})
BATCH = 1  # what a dynamic first dimension is taken as


@dataclass(frozen=True, slots=True)
class Shapes:
    """Shapes of all tensors by name, and which of them are weights."""

    of: Mapping[str, Shape]
    weights: frozenset[str]


def describe(path: Path, name: str = "") -> NetworkRow:
    """Read an ONNX file. Raises `InputError`, or `CapabilityMissing` without the onnx package."""
    onnx = _onnx()
    graph = _read(onnx, path).graph
    if len(graph.node) > NODES_MAX:
        raise InputError(f"{path}: more than {NODES_MAX} nodes", hint="export a smaller graph")
    shapes = _shapes(graph)
    layers = [layer for node in graph.node if (layer := _layer(onnx, path, node, shapes))]
    if not any(layer.t in (CONVOLUTION, DENSE) for layer in layers):
        raise InputError(
            f"{path}: no convolution and no matrix product with known shapes",
            hint="the work of a network is counted in these; fix the input's shape on export",
        )
    height, width = _input_size(graph, shapes)
    return _network(name or path.stem, height, width, layers)


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise CapabilityMissing(
            "describing ONNX files needs the onnx package",
            hint='pip install "edge-hil-harness[jetson]"',
        ) from error
    return onnx


def _read(onnx: Any, path: Path) -> Any:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise InputError(f"{path}: larger than 2 GiB", hint="keep weights in external data")
        model = onnx.load(str(path), load_external_data=False)
        for value in model.graph.input:
            _fix_batch(value)
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", hint="give an ONNX file") from error
    except InputError:
        raise
    except Exception as error:  # protobuf and onnx raise many kinds for a file that is not one
        raise InputError(f"{path}: not an ONNX model: {error}", hint="give an ONNX file") from error


def _fix_batch(value: Any) -> None:
    dimensions = value.type.tensor_type.shape.dim
    if dimensions and not dimensions[0].dim_value:
        dimensions[0].dim_value = BATCH


def _shapes(graph: Any) -> Shapes:
    of: dict[str, Shape] = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        sizes = [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        if sizes and all(size > 0 for size in sizes):
            of[value.name] = tuple(sizes)
    weights = {tensor.name for tensor in graph.initializer}
    of.update({tensor.name: tuple(tensor.dims) for tensor in graph.initializer})
    for node in graph.node:  # in topological order: what is made of weights alone is one too
        if all(name in weights for name in node.input if name):
            weights.update(node.output)
    return Shapes(of, frozenset(weights))


def _layer(onnx: Any, path: Path, node: Any, shapes: Shapes) -> LayerRow | None:
    kind = node.op_type
    if kind in CONVOLUTIONS:
        return _convolution(path, node, shapes)
    if kind in PRODUCTS:
        return _product(onnx, path, node, shapes)
    if kind in POOLS:
        return _moving(POOL, node, shapes)
    if kind == "Concat":
        return _moving(CONCAT, node, shapes)
    return _moving(COPY, node, shapes) if kind in COPIES else None


def _convolution(path: Path, node: Any, shapes: Shapes) -> LayerRow:
    weight = 3 if node.op_type == "QLinearConv" else 1
    filters = _known(path, node, shapes, node.input[weight])
    image = _known(path, node, shapes, node.input[0])
    output = _known(path, node, shapes, node.output[0])
    groups = next((one.i for one in node.attribute if one.name == "group"), 1)
    taps = prod(filters[2:])
    transposed = node.op_type == "ConvTranspose"
    positions = prod(image[2:] if transposed else output[2:]) * output[0]
    return LayerRow(
        t=CONVOLUTION,
        macs=positions * prod(filters),
        inp=prod(image),
        out=prod(output),
        w=prod(filters),
        g=groups,
        cin=image[1],
        cout=output[1],
        k=taps,
        res=list(output[2:]),
    )


def _product(onnx: Any, path: Path, node: Any, shapes: Shapes) -> LayerRow:
    left = _known(path, node, shapes, node.input[0])
    right = _known(path, node, shapes, node.input[1])
    output = _known(path, node, shapes, node.output[0])
    flipped = node.op_type == "Gemm" and any(
        one.name == "transA" and onnx.helper.get_attribute_value(one) for one in node.attribute
    )
    depth = left[0] if flipped else left[-1]
    is_weight = node.input[1] in shapes.weights
    rows = prod(output[:-1])
    return LayerRow(
        t=DENSE if rows == 1 else CONVOLUTION,
        macs=prod(output) * depth,
        inp=prod(left) + (0 if is_weight else prod(right)),
        out=prod(output),
        w=prod(right) if is_weight else 0,
        g=1,
        cin=depth,
        cout=output[-1],
        k=1,
        res=[],
    )


def _moving(kind: str, node: Any, shapes: Shapes) -> LayerRow | None:
    """Without a known shape the kernel is left out: it holds no arithmetic."""
    moved = [shapes.of.get(name) for name in node.input if name not in shapes.weights]
    outputs = [shapes.of.get(name) for name in node.output if name]
    if not moved or None in moved or None in outputs:
        return None
    read = sum(prod(shape) for shape in moved if shape is not None)
    written = sum(prod(shape) for shape in outputs if shape is not None)
    return LayerRow(kind, 0, read, written, 0, 1, 0, 0, 0, [])


def _known(path: Path, node: Any, shapes: Shapes, name: str) -> Shape:
    shape = shapes.of.get(name)
    if shape is None:
        raise InputError(
            f"{path}: node {node.name or node.output[0]}: the shape of {name} is not known",
            hint="export with a fixed input size",
        )
    return shape


def _input_size(graph: Any, shapes: Shapes) -> tuple[int, int]:
    for value in graph.input:
        shape = shapes.of.get(value.name, ())
        if value.name not in shapes.weights and len(shape) == 4:
            return shape[2], shape[3]
    return 1, 1


def _network(name: str, height: int, width: int, layers: Sequence[LayerRow]) -> NetworkRow:
    macs = sum(layer.macs for layer in layers)
    depthwise = sum(layer.macs for layer in layers if layer.g > 1 and layer.g == layer.cout)
    return NetworkRow(
        model=name,
        h=height,
        w=width,
        gmacs=macs / 1e9,
        gflops=2 * macs / 1e9,
        dw_gmacs=depthwise / 1e9,
        params_m=sum(layer.w for layer in layers) / 1e6,
        act_melem=sum(layer.inp + layer.out for layer in layers) / 1e6,
        n_kernels=len(layers),
        n_conv=sum(layer.t in (CONVOLUTION, DENSE) for layer in layers),
        note="from an ONNX file",
        layers=list(layers),
    )
