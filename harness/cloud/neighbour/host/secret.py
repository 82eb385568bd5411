"""Secrets that the service makes, past the services' own operations."""

from __future__ import annotations

from typing import Any

from moto.secretsmanager.models import secretsmanager_backends

from harness.cloud.neighbour.host import chance, clock


def put(secrets: list[dict[str, Any]]) -> None:
    """Each {"account", "region", "name", "text", "made_s"}; its ids follow from its name."""
    for secret in secrets:
        made_s = float(secret["made_s"])
        with chance.apart(secret["name"]), clock.set_to(made_s, made_s):
            secretsmanager_backends[secret["account"]][secret["region"]].create_secret(
                name=secret["name"],
                secret_string=secret["text"],
                secret_binary=None,
                description="Credentials of a camera, made by AWS Panorama",
                tags=[],
                kms_key_id=None,
                client_request_token=None,
                replica_regions=[],
                force_overwrite=False,
            )
