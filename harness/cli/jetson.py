"""`harness jetson ...`: what networks cost on the hardware that appliance profiles describe."""

from __future__ import annotations

from pathlib import Path

import click

_FILE = click.Path(path_type=Path)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
_LEAVE_OUT = click.Choice(["configuration", "network", "device"])


@click.group("jetson")
def jetson() -> None:
    """The performance model: predict, score, fit."""


@jetson.command("predict")
@click.option("--profile", required=True, help="An appliance profile, by name or as a file.")
@click.option("--mode", default="max", show_default=True, help="A power mode, or its clocks.")
@click.option("--model", "network", required=True, help="A known network, or a descriptor or ONNX.")
@click.option("--size", default="", metavar="HxW", help="Size of its input, if not the usual one.")
@click.option("--precision", type=click.Choice(["int8", "fp16", "fp32"]), default="fp16")
@click.option("--batch", type=click.IntRange(1, 4096), default=1, show_default=True)
@click.option("--engine", type=click.Choice(["gpu", "dla", "both", "cpu"]), default="gpu")
@click.option("--software", help="Software that runs it, as the measurements name it.")
@_json
def predict_command(
    profile: str,
    mode: str,
    network: str,
    size: str,
    precision: str,
    batch: int,
    engine: str,
    software: str | None,
    as_json: bool,
) -> int:
    """Latency, throughput and power of a network, each with the interval that holds 9 of 10."""
    from harness.cli import jetson_model

    asked = jetson_model.Asked(
        profile, mode, network, size, precision, batch, engine, software or ""
    )
    return jetson_model.predict(asked, as_json=as_json)


@jetson.command("plan")
@click.option("--profile", required=True, help="An appliance profile, by name or as a file.")
@click.option("--app", "application", type=_FILE, help="An application's folder with one ONNX.")
@click.option("--model", "network", default="", help="Instead: a known network, or a file.")
@click.option("--cameras", type=click.IntRange(1, 256), required=True, help="All together.")
@click.option("--instances", type=click.IntRange(1, 10), default=1, help="Of the application.")
@click.option("--mode", default="max", show_default=True, help="A power mode, or its clocks.")
@click.option("--precision", type=click.Choice(["int8", "fp16", "fp32"]), default="fp16")
@click.option("--engine", type=click.Choice(["gpu", "dla"]), default="gpu")
@click.option("--rate", type=click.FloatRange(0.1, 120), default=15.0, show_default=True)
@click.option("--size", default="1920x1080", show_default=True, metavar="WxH", help="Of pictures.")
@click.option("--host-ms", type=click.FloatRange(0.0, 1e4), help="A frame on the CPU, in ms.")
@click.option("--encode", metavar="WxH", help="The picture that each frame is encoded again as.")
@click.option("--ambient", type=click.FloatRange(-40, 85), default=25.0, help="In Celsius.")
@_json
def plan_command(
    profile: str,
    application: Path | None,
    network: str,
    cameras: int,
    instances: int,
    mode: str,
    precision: str,
    engine: str,
    rate: float,
    size: str,
    host_ms: float | None,
    encode: str | None,
    ambient: float,
    as_json: bool,
) -> int:
    """What an appliance carries: rates, bottleneck, power, temperature, most cameras."""
    from harness.cli import jetson_model, jetson_plan

    width, height = jetson_plan.picture(size)
    asked = jetson_model.Asked(profile, mode, network, "", precision, 1, engine, "")
    wanted = jetson_plan.Wanted(
        application, cameras, instances, rate, width, height, host_ms, ambient,
        None if encode is None else jetson_plan.picture(encode),
    )  # fmt: skip
    return jetson_plan.plan(asked, wanted, as_json=as_json)


@jetson.command("networks")
def networks_command() -> int:
    """List the networks whose work is known."""
    from harness.cli import jetson_model

    return jetson_model.networks()


@jetson.command("score")
@click.argument("file", type=_FILE, required=False)
@click.option("--leave-out", type=_LEAVE_OUT, help="Predict each row without these of its like.")
@click.option("--refit", is_flag=True, help="With --leave-out: fit again, in 8 folds (minutes).")
@_json
def score_command(file: Path | None, leave_out: str | None, refit: bool, as_json: bool) -> int:
    """Compare predictions with a CSV file of measurements; default: those it was fitted to."""
    from harness.cli import jetson_model

    return jetson_model.score(file, leave_out, refit=refit, as_json=as_json)


@jetson.command("fit")
@click.option("--output", type=_FILE, help="Where to write the model; default: where it is read.")
def fit_command(output: Path | None) -> int:
    """Fit the model to the measurements beside it, and write it."""
    from harness.cli import jetson_model

    return jetson_model.fit(output)


@jetson.command("chart")
@click.argument("folder", type=_FILE)
def chart_command(folder: Path) -> int:
    """Draw how good the model is, as two SVG files in FOLDER."""
    from harness.cli import jetson_model

    return jetson_model.chart(folder)


@jetson.command("describe")
@click.argument("file", type=_FILE)
@click.option("--name", default="", help="What to call the network; default: the file's name.")
def describe_command(file: Path, name: str) -> int:
    """Print the per-layer work of an ONNX file as JSON; `predict --model` reads it."""
    from harness.cli import jetson_model

    return jetson_model.describe(file, name)
