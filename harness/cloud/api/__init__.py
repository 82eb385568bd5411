"""The service API: declared once as data, read by routing, validation and both wire ends."""

from harness.cloud.api.error import ApiError
from harness.cloud.api.model import Operation, Service
from harness.cloud.api.reader import load

__all__ = ["ApiError", "Operation", "Service", "load"]
