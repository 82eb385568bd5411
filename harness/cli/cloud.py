"""`harness cloud ...`: the control plane's API, for clients and for readers."""

from __future__ import annotations

from pathlib import Path

import click

_DIRECTORY = click.Path(path_type=Path, file_okay=False)


@click.group("cloud")
def cloud() -> None:
    """The control plane: its API as a model for boto3, as OpenAPI, as a page."""


@cloud.command("install-model")
@click.option(
    "--directory", type=_DIRECTORY, help="A folder for AWS_DATA_PATH; else ~/.aws/models."
)
@click.option("--force", is_flag=True, help="Replace a model that is not ours.")
def install_model_command(directory: Path | None, force: bool) -> int:
    """Give boto3 and the AWS CLI the service model that newer releases have dropped."""
    from harness.cli import cloud_model

    return cloud_model.install(directory, force=force)


@cloud.command("openapi")
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="Of the service.")
def openapi_command(url: str) -> int:
    """Print the API as an OpenAPI 3.1 document."""
    from harness.cli import cloud_model

    return cloud_model.openapi_document(url)


@cloud.command("reference")
def reference_command() -> int:
    """Print the API's reference page, docs/api.md."""
    from harness.cli import cloud_model

    return cloud_model.reference_page()
