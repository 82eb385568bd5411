"""What the `harness jetson` commands do."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.calibration import chart as charts
from harness.calibration import score as scores
from harness.calibration.case import REFERENCE_SOFTWARE, Case
from harness.calibration.library import performance_folder, read_network
from harness.calibration.measurement import read_measurements
from harness.calibration.model import FILE, Data, Model, load, write
from harness.calibration.model import fit as fit_model
from harness.calibration.observation import observe
from harness.calibration.onnx_work import describe as describe_onnx
from harness.calibration.predict import Estimate, Prediction, measured_as
from harness.calibration.predict import predict as predict_case
from harness.errors import InputError
from harness.jetson.hardware import power_mode
from harness.scenario import ProfileLibrary, appliance_profile, shipped_hardware

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.calibration.observation import Unusable
    from harness.calibration.score import Line, Scored
    from harness.jetson.hardware import Hardware
    from harness.jetson.network import Network
    from harness.jetson.profile import Profile

JSON_SCHEMA = 1
GRADE = "V"


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of `harness jetson predict`."""

    profile: str
    mode: str
    network: str
    size: str
    precision: str
    batch: int
    engine: str
    software: str


def predict(asked: Asked, *, as_json: bool) -> int:
    model = load(shipped_hardware())
    case = case_of(model, asked)
    prediction = predict_case(model, case)
    if as_json:
        value = {
            "schema": JSON_SCHEMA,
            "grade": GRADE,
            **asdict(asked),
            "mode": case.mode.name,
            "network": case.network.key,
            "origin": case.network.origin,
            **prediction.to_json(),
        }
        print(json.dumps(value, indent=2))
    else:
        _print_prediction(case, prediction)
    return 0


def case_of(model: Model, asked: Asked) -> Case:
    hardware = _hardware(asked.profile)
    mode = power_mode(hardware, asked.mode)
    if asked.engine in ("dla", "both") and not mode.dla_count:
        raise InputError(f"{hardware.name} has no DLA in mode {mode.name}", hint="use --engine gpu")
    software = asked.software or REFERENCE_SOFTWARE
    known = {one.software for reg in model.regressions.values() for one, _ in reg.cases}
    if software not in known:
        raise InputError(
            f"no measurement was made with {software!r}", hint=f"one of {', '.join(sorted(known))}"
        )
    return Case(
        device=measured_as(model, hardware, mode),
        hardware=hardware,
        mode=mode,
        network=_network(model, asked.network, asked.size),
        precision=asked.precision,
        engine=asked.engine,
        gpu_batch=asked.batch,
        dla_batch=asked.batch,
        software=software,
        variant=software,
    )


def profile_of(profile: str) -> Profile:
    """An appliance profile by name, or from a file."""
    library = ProfileLibrary(Path.cwd())
    path = Path(profile) if profile.endswith(".yaml") else library.find("appliances", profile)
    if path is None:
        raise InputError(
            f"no appliance profile {profile!r}",
            hint=f"one of {', '.join(library.known('appliances'))}, or a .yaml file",
        )
    return appliance_profile(path)


def _hardware(name: str) -> Hardware:
    hardware = profile_of(name).hardware
    if hardware is None:
        raise InputError(
            f"profile {name}: no `hardware`", hint="`harness schema appliance` prints its keys"
        )
    return hardware


def _network(model: Model, name: str, size: str) -> Network:
    if name.endswith(".onnx"):
        return describe_onnx(Path(name)).network()
    if name.endswith(".json"):
        return read_network(Path(name))
    found = model.library.find(name, size)
    if found is None:
        raise InputError(
            f"the work of a network {name!r} is not known",
            hint="`harness jetson networks` lists known ones; or give an ONNX file",
        )
    return found


def _print_prediction(case: Case, prediction: Prediction) -> None:
    print(f"{case.network.key} {case.precision}, batch {case.batch}, {case.engine} of "
          f"{case.hardware.name} in {case.mode.name}, with {case.software}")  # fmt: skip
    rows = (
        ("latency mean", prediction.mean_ms, "ms"),
        ("latency p50", prediction.p50_ms, "ms"),
        ("latency p90", prediction.p90_ms, "ms"),
        ("latency p99", prediction.p99_ms, "ms"),
        ("throughput", prediction.throughput_per_s, "images/s"),
        ("power at the plug", prediction.power_w, "W"),
        ("power when idle", prediction.idle_w, "W"),
    )
    for name, estimate, unit in rows:
        print(f"{name:18}{_shown(estimate)} {unit}")
    if case.network.origin:
        print(f"layers: {case.network.origin}")
    for reason in prediction.extrapolation:
        print(f"extrapolates: {reason}")


def _shown(estimate: Estimate) -> str:
    bounds = f"{estimate.low:.4g} .. {estimate.high:.4g}"
    return f"{estimate.value:>10.4g}   9 of 10 within {bounds}"


def networks() -> int:
    hardware = shipped_hardware()
    data = Data.read(performance_folder(), hardware)
    for key in sorted(data.library.by_key):
        network = data.library.by_key[key]
        print(f"{key:44}{network.macs / 1e9:10.3f} GMACs{network.kernels:7} kernels  "
              f"{network.origin}".rstrip())  # fmt: skip
    return 0


def score(file: Path | None, leave_out: str | None, *, refit: bool, as_json: bool) -> int:
    if refit and leave_out is None:
        raise InputError("--refit says how to leave out", hint="add --leave-out configuration")
    model = load(shipped_hardware())
    scored, unusable, model = _scored(model, file, leave_out, refit=refit)
    ratios = scores.mode_ratios(model) if leave_out == "configuration" and not refit else None
    if as_json:
        value = {
            "schema": JSON_SCHEMA,
            "leave_out": leave_out,
            "table": [asdict(line) for line in scores.table(scored)],
            "mode_ratios": asdict(ratios) if ratios else None,
            "rows": scores.to_json(scored),
            "not_predicted": [
                {"line": one.measurement.line, "reason": one.reason} for one in unusable
            ],
        }
        print(json.dumps(value, indent=2))
        return 0
    _print_table(scores.table(scored))
    if ratios is not None:
        print(f"\nratios between power modes, {ratios.count} pairs: median {ratios.median:.1%}, "
              f"worst {ratios.worst:.1%}, within 20 % {ratios.within:.0%}")  # fmt: skip
    _print_unusable(unusable)
    return 0


def _scored(
    model: Model, file: Path | None, leave_out: str | None, *, refit: bool
) -> tuple[list[Scored], list[Unusable], Model]:
    """Rows with predictions, rows without, and the model that made them.

    Leaving parts of a file out that the model was not fitted to needs a model of that file.
    """
    folder = performance_folder()
    rows = read_measurements(file or folder / "measurements.csv")
    observations, unusable = observe(rows, shipped_hardware(), model.library)
    if not observations:
        raise InputError("no row that could be predicted", hint=unusable[0].reason)
    if leave_out is None:
        return scores.against(model, observations), unusable, model
    data = Data.of(observations, model.library, model.data_sha256)
    if refit:
        return scores.refitting(data, leave_out), unusable, model
    if file is not None and not model.same_as(observations):
        model = fit_model(data)
    return scores.leaving_out(model, leave_out), unusable, model


def _print_table(lines: Sequence[Line]) -> None:
    print(f"{'':42}{'rows':>6}{'median':>9}{'90th':>9}{'inside 90 %':>14}")
    for one in lines:
        print(f"{one.name:42}{one.count:6}{one.median:9.1%}{one.p90:9.1%}{one.inside:14.0%}")


def _print_unusable(unusable: Sequence[Unusable]) -> None:
    reasons: dict[str, int] = {}
    for one in unusable:
        reasons[one.reason] = reasons.get(one.reason, 0) + 1
    if reasons:
        print("\nnot predicted:")
    for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0])):
        print(f"{count:6}  {reason}")


def fit(output: Path | None) -> int:
    folder = performance_folder()
    data = Data.read(folder, shipped_hardware())
    path = output or folder / FILE
    write(fit_model(data), path)
    print(path)
    return 0


def chart(folder: Path) -> int:
    model = load(shipped_hardware())
    by_name = {name: scores.leaving_out(model, name) for name in scores.GROUPS}
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {
        "jetson-predicted.svg": charts.scatter(by_name["configuration"]),
        "jetson-error.svg": charts.shares(
            {f"{name} left out": one for name, one in by_name.items()}
        ),
    }
    for name, picture in pictures.items():
        (folder / name).write_bytes(picture)
        print(folder / name)
    return 0


def describe(file: Path, name: str) -> int:
    row = describe_onnx(file, name)
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(row), indent=1).decode() + "\n")
    return 0
