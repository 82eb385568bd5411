"""What the API answers when it says no: names, members and statuses of the service model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.errors import PeerRefused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FIELDS_MAX = 100  # of a ValidationException: a hostile request must not grow the answer


class ApiError(PeerRefused):
    """An API error: `code` as in the model, HTTP `status`, `members` of its body.

    `retry_after_s` says when the same request may be answered; 0: the service does not say.
    """

    def __init__(
        self, code: str, status: int, members: Mapping[str, Any], retry_after_s: float = 0.0
    ) -> None:
        super().__init__(f"{code}: {members.get('Message', '')}", hint=str(members.get("Message")))
        self.code = code
        self.status = status
        self.members = members
        self.retry_after_s = retry_after_s

    @property
    def message(self) -> str:
        return str(self.members.get("Message", ""))


def validation(
    message: str, fields: Sequence[tuple[str, str]] = (), reason: str = "OTHER"
) -> ApiError:
    """400. `fields` are (name, what is wrong with it)."""
    members: dict[str, Any] = {"Message": message, "Reason": reason}
    if fields:
        members["Reason"] = "FIELD_VALIDATION_FAILED"
        members["Fields"] = [{"Name": name, "Message": text} for name, text in fields[:FIELDS_MAX]]
    return ApiError("ValidationException", 400, members)


def not_found(kind: str, identifier: str) -> ApiError:
    """404. `kind` is the resource type, such as DEVICE."""
    members = {
        "Message": f"{kind.replace('_', ' ').capitalize()} {identifier} does not exist.",
        "ResourceId": identifier,
        "ResourceType": kind,
    }
    return ApiError("ResourceNotFoundException", 404, members)


def conflict(
    kind: str, identifier: str, message: str, error_id: str = "", **arguments: str
) -> ApiError:
    """409: the resource is in a state that does not allow what was asked.

    `error_id` names the reason for programs, `arguments` are what led to it.
    """
    members: dict[str, Any] = {"Message": message, "ResourceId": identifier, "ResourceType": kind}
    if error_id:
        members["ErrorId"] = error_id
        members["ErrorArguments"] = [
            {"Name": name, "Value": value} for name, value in arguments.items()
        ]
    return ApiError("ConflictException", 409, members)


def over_quota(kind: str, identifier: str, quota: str, message: str) -> ApiError:
    """402. `quota` names the limit."""
    members = {
        "Message": message,
        "ResourceId": identifier,
        "ResourceType": kind,
        "QuotaCode": quota,
        "ServiceCode": "panorama",
    }
    return ApiError("ServiceQuotaExceededException", 402, members)


def throttled(message: str, retry_after_s: float) -> ApiError:
    """429: too many requests. No operation declares it; any may answer it, as all of AWS does."""
    return ApiError("ThrottlingException", 429, {"Message": message}, retry_after_s)


def internal(message: str) -> ApiError:
    return ApiError("InternalServerException", 500, {"Message": message})
