"""The generated forms of the declaration: botocore's model, OpenAPI, the reference page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel

from harness.cloud.api import load
from harness.cloud.api.model import Structure
from harness.cloud.api.openapi import openapi
from harness.cloud.api.reference import reference
from harness.cloud.api.service_model import service_model

ROOT = Path(__file__).parents[3]
SERVICE = load()


@pytest.fixture
def original() -> Any:
    """The model inside botocore 1.43.37, the last release that carried it."""
    return _bare(Loader().load_service_model("panorama", "service-2"))


def _bare(value: Any) -> Any:
    """Without documentation, in plain dictionaries."""
    if isinstance(value, dict):
        items = value.items()
        return {key: _bare(item) for key, item in items if key != "documentation"}
    return [_bare(item) for item in value] if isinstance(value, list) else value


def _differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """Every place where two documents differ, so that a failure says what to mend."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return [
            difference
            for key in sorted({*ours, *theirs})
            for difference in _differences(ours.get(key), theirs.get(key), f"{path}/{key}")
        ]
    return [] if ours == theirs else [f"{path}: {ours!r} is {theirs!r} in botocore"]


def test_the_model_is_the_one_botocore_carried(original: Any) -> None:
    ours = _bare(service_model(SERVICE))
    assert len(ours["operations"]) == 34
    assert len(ours["shapes"]) == 237
    assert _differences(ours, original) == []


def test_the_comparison_sees_a_missing_member_and_a_wrong_bound(original: Any) -> None:
    ours = _bare(service_model(SERVICE))
    del ours["shapes"]["Device"]["members"]["Brand"]
    ours["shapes"]["MaxSize25"]["max"] = 26
    assert [line.partition(":")[0] for line in _differences(ours, original)] == [
        "/shapes/Device/members/Brand",
        "/shapes/MaxSize25/max",
    ]


def test_botocore_reads_the_model() -> None:
    model = ServiceModel(service_model(SERVICE), "panorama")
    for name in model.operation_names:
        operation = model.operation_model(name)
        assert operation.input_shape.name == f"{name}Request"
        assert operation.output_shape.name == f"{name}Response"
    assert model.shape_for("TemplateValue").metadata["sensitive"] is True
    assert model.shape_for("ConflictException").error_code == "ConflictException"


# --- OpenAPI -------------------------------------------------------------------------------


def test_every_operation_is_in_the_openapi_document() -> None:
    document = openapi(SERVICE, "http://127.0.0.1:1")
    found = {
        described["operationId"]: (method.upper(), uri)
        for uri, path in document["paths"].items()
        for method, described in path.items()
    }
    assert found == {name: (made.method, made.uri) for name, made in SERVICE.operations.items()}
    for uri, path in document["paths"].items():
        for described in path.values():
            labels = {entry["name"] for entry in described.get("parameters", [])
                      if entry["in"] == "path"}  # fmt: skip
            assert labels == set(re.findall(r"\{(\w+)\}", uri))


def test_references_of_the_openapi_document_lead_somewhere() -> None:
    document = openapi(SERVICE, "http://127.0.0.1:1")
    text = json.dumps(document)
    named = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert named == set(document["components"]["schemas"])


def test_openapi_schemas_accept_and_refuse_what_the_service_does() -> None:
    document = openapi(SERVICE, "http://127.0.0.1:1")
    request = {"$ref": "#/components/schemas/ProvisionDeviceRequest", **document}
    validator = jsonschema.Draft202012Validator(request)
    validator.check_schema(request)
    address = {"IpAddress": "10.0.0.2", "Mask": "m", "DefaultGateway": "g", "Dns": ["d"]}
    network = {"Ethernet0": {"ConnectionType": "STATIC_IP", "StaticIpConnectionInfo": address}}
    good = {"Name": "north-1", "Tags": {"site": ""}, "NetworkingConfiguration": network}
    assert list(validator.iter_errors(good)) == []
    for wrong in (
        {},
        {"Name": "no spaces"},
        {"Name": "n", "Description": "d" * 256},
        {"Name": "n", "Tags": {"": "x"}},
        {"Name": "n", "NetworkingConfiguration": {"Ethernet0": {"ConnectionType": "WIFI"}}},
        {"Name": "n", "NetworkingConfiguration": {"Ntp": {"NtpServers": ["10.0.0.1"] * 6}}},
    ):
        assert list(validator.iter_errors(wrong)) != [], wrong


# --- the page ------------------------------------------------------------------------------


def test_the_reference_page_is_up_to_date() -> None:
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    assert page == reference(SERVICE), "run: harness cloud reference > docs/api.md"


def test_the_reference_page_has_everything() -> None:
    page = reference(SERVICE)
    for name, operation in SERVICE.operations.items():
        assert f"### {name}\n\n{operation.summary}\n\n`{operation.method} {operation.uri}`" in page
    named = {name for name, shape in SERVICE.shapes.items() if not isinstance(shape, Structure)}
    assert [name for name in named if f"| {name} |" not in page] == []


def test_every_operation_says_what_it_does() -> None:
    assert [name for name, made in SERVICE.operations.items() if not made.summary] == []
