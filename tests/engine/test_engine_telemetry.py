"""On every rung: what appliances note arrives at the service as logs, how they are as metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness.cloud.service.telemetry import Telemetry
from harness.engine import ENGINES

if TYPE_CHECKING:
    from harness.cloud.service.state import Device

pytestmark = pytest.mark.usefixtures("brief_settling")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Everything that devices upload in a run."""
    documents: list[Any] = []
    receive = Telemetry.receive

    def record(telemetry: Telemetry, device: Device, document: Any) -> None:
        receive(telemetry, device, document)
        documents.append(document)

    monkeypatch.setattr(Telemetry, "receive", record)
    return documents


@pytest.mark.parametrize("engine", ENGINES)
def test_logs_and_metrics_of_a_run(runs: Any, make_plan: Any, told: list[Any], engine: str) -> None:
    kill = {"fault": {"kind": "app.kill", "target": "counter", "for": "0s"}}
    workload = [kill, {"observe": "2s"}]
    ran = runs(make_plan(engine, deploy="counter", workload=workload, converge_within="5m"))
    assert ran.error is None
    lines: dict[str, list[str]] = {}
    for document in told:
        for batch in document.get("logs", ()):
            lines.setdefault(batch["stream"], []).extend(text for _, text in batch["lines"])
    occ = "\n".join(lines["occ_log"])
    for said in (
        "INFO link.connected",
        "INFO app.installed",
        "INFO node.started",
        "WARN node.ended",
    ):
        assert said in occ, said
    assert "password" not in occ
    for stream, said in (
        ("kern_log", "INFO root is slot a, verified"),
        ("logging_setup_logs", "INFO streams are occ_log"),
        ("cloudwatch_agent_logs", "INFO started for device-"),
        ("shadow_log", "INFO device: reported"),
        ("mds", "INFO streams are opened attempt=2"),
    ):
        assert said in "\n".join(lines[stream]), stream
    metrics = [metric for document in told for metric in document.get("metrics", ())]
    assert any(metric["name"] == "DeviceActive" for metric in metrics)
    (errors,) = (metric for metric in metrics if metric["name"] == "ApplicationErrors")
    assert errors["value"] == 1.0
    if engine == "process":  # where applications are real
        assert lines["console_output"], lines.keys()
