"""Hooks of schemathesis: requests are signed, and half of them are about things that exist.

Run in the environment of the newest clients, not in the project's. `KNOWN` is a JSON object of
lists, by the name of a parameter.
"""

from __future__ import annotations

import json
import os
import random
from typing import Any

import schemathesis
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

KNOWN: dict[str, list[str]] = json.loads(os.environ["KNOWN"])
DRAW = random.Random(1)


class Sign:
    """An authentication of `requests`."""

    def __call__(self, request: Any) -> Any:
        body = request.body
        data = body.encode() if isinstance(body, str) else body
        headers = {"Host": request.url.split("/")[2]}
        signed = AWSRequest(request.method, request.url, data=data, headers=headers)
        keys = (os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
        SigV4Auth(Credentials(*keys), "panorama", "us-east-1").add_auth(signed)
        for name in ("Authorization", "X-Amz-Date"):
            request.headers[name] = signed.headers[name]
        return request


schemathesis.auth.set_from_requests(Sign())


def _existing(values: Any) -> Any:
    """Some of the parameters replaced by those of things that exist."""
    if not isinstance(values, dict):
        return values
    chosen = {
        name: DRAW.choice(KNOWN[name])
        for name in values
        if name in KNOWN and KNOWN[name] and DRAW.random() < 0.5
    }
    return {**values, **chosen}


def map_path_parameters(_context: Any, values: Any) -> Any:
    return _existing(values)


def map_query(_context: Any, values: Any) -> Any:
    return _existing(values)


def map_body(_context: Any, values: Any) -> Any:
    return _existing(values)


for hook in (map_path_parameters, map_query, map_body):
    schemathesis.hook(hook)
