"""What all kinds of files are made of: strict parts without unknown keys, names, versions."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

NAME_PATTERN = r"^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$"
VERSION_PATTERN = r"^[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}$"

Name = Annotated[str, Field(pattern=NAME_PATTERN, examples=["north", "counter-north"])]
ENDPOINT_PATTERN = r"^[a-z0-9.-]{1,253}:[0-9]{1,5}$"

Endpoint = Annotated[str, Field(pattern=ENDPOINT_PATTERN, examples=["api.ecr.test:443"])]
Version = Annotated[str, Field(pattern=VERSION_PATTERN, examples=["6.2.1"])]


class Part(BaseModel):
    """Base of everything in a file: no coercion, no unknown keys, no change afterwards."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
