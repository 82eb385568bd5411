"""`harness cloud ...`: the control plane alone, and its API for clients and for readers."""

from __future__ import annotations

from pathlib import Path

import click

_DIRECTORY = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)
_PORT = click.IntRange(0, 65535)
_SECONDS = click.FloatRange(min=0.0)


@click.group("cloud")
def cloud() -> None:
    """The control plane: served alone; its API as a model for boto3, as OpenAPI, as a page."""


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


@cloud.command("serve")
@click.option(
    "--state", type=_DIRECTORY, default="cloud-state", show_default=True, help="What is kept."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--advertise", metavar="HOST", help="How clients reach it, when not by --host.")
@click.option("--port", type=_PORT, default=8080, show_default=True, help="API; 0: any free one.")
@click.option("--https-port", type=_PORT, default=8443, show_default=True, help="For devices.")
@click.option("--mqtt-port", type=_PORT, default=8883, show_default=True, help="For devices.")
@click.option("--tls/--no-tls", default=None, help="API over HTTPS; always beyond loopback.")
@click.option("--account", default="123456789012", show_default=True)
@click.option("--region", default="us-east-1", show_default=True)
@click.option(
    "--time-scale",
    type=click.FloatRange(min=0.0, min_open=True),
    default=1.0,
    show_default=True,
    help="Leases, claims and package jobs pass so many times faster.",
)
@click.option(
    "--package-jobs-take",
    "package_job_s",
    type=_SECONDS,
    metavar="SECONDS",
    default=0.0,
    show_default=True,
    help="How long camera registrations and imports are under way.",
)
@click.option(
    "--quotas",
    metavar="off|documented|FILE",
    default="off",
    show_default=True,
    help="The vendor's limits and rates, or those of a file.",
)
@click.option(
    "--broker",
    type=click.Choice(["embedded", "mosquitto"]),
    default="embedded",
    show_default=True,
    help="What devices talk MQTT to; Mosquitto must be installed.",
)
@click.option("--log", type=_FILE, help="Append the log to this file instead of stderr.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of exports.")
def serve_command(
    state: Path,
    host: str,
    advertise: str | None,
    port: int,
    https_port: int,
    mqtt_port: int,
    tls: bool | None,
    account: str,
    region: str,
    time_scale: float,
    package_job_s: float,
    quotas: str,
    broker: str,
    log: Path | None,
    as_json: bool,
) -> int:
    """Run the control plane alone until Ctrl-C, and print what clients have to export.

    Everything it is told is kept in --state and known again when it is started there anew, also
    after a crash. Root keys may be given in HARNESS_CLOUD_KEYS as ACCOUNT:ID:SECRET; without one
    for --account a key is drawn once and kept.
    """
    from harness.cli import cloud_serve

    return cloud_serve.serve_until_stopped(
        cloud_serve.Wanted(
            state, host, advertise, port, https_port, mqtt_port, tls, account, region,
            time_scale, package_job_s, quotas, broker, log, as_json,
        )
    )  # fmt: skip
