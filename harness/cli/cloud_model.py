"""The declared API in the forms that others read: a model for botocore, OpenAPI, a page."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from harness.cloud.api import load
from harness.cloud.api.openapi import openapi
from harness.cloud.api.reference import reference
from harness.cloud.api.service_model import ORIGIN, service_model
from harness.errors import InputError

FILE_NAME = "service-2.json"


def install(directory: Path | None, *, force: bool) -> int:
    """Write the model where botocore looks; its path is printed on stdout, the rest on stderr."""
    service = load()
    root = directory if directory is not None else Path.home() / ".aws/models"
    path = root / service.metadata["endpointPrefix"] / service.metadata["apiVersion"] / FILE_NAME
    text = json.dumps(service_model(service), indent=1) + "\n"
    done = _write(path, text, force=force)
    print(path)
    counts = f"{len(service.operations)} operations, {len(service.shapes)} shapes"
    print(f"{done}: {counts}", file=sys.stderr)
    if directory is not None:
        print(f"to use it: export AWS_DATA_PATH={root.resolve()}", file=sys.stderr)
    else:
        print("boto3 and the AWS CLI find it there by themselves", file=sys.stderr)
    print("and point them at the control plane: AWS_ENDPOINT_URL=http://HOST:PORT", file=sys.stderr)
    return 0


def _write(path: Path, text: str, *, force: bool) -> str:
    """What was done. A file that somebody else put there stays, unless `force` is given."""
    old = path.read_text(encoding="utf-8", errors="replace") if path.exists() else None
    if old == text:
        return "up to date"
    if old is not None and ORIGIN not in old and not force:
        raise InputError(
            f"{path}: there is another model of the service",
            hint="`--force` replaces it; `--directory DIR` writes elsewhere",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".model-") as folder:
        whole = Path(folder) / FILE_NAME
        whole.write_text(text, encoding="utf-8")
        whole.replace(path)
    return "written" if old is None else "replaced"


def openapi_document(url: str) -> int:
    print(json.dumps(openapi(load(), url), indent=2))
    return 0


def reference_page() -> int:
    print(reference(load()), end="")
    return 0
