"""What every part of the control plane shares: clock, chance, store, ways out, settings."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

from harness.cloud.service.secret import SecretStore
from harness.cloud.service.state import Store
from harness.scenario.quota import OFF, Quotas

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from harness.cloud.service.authority import Authority
    from harness.cloud.service.content import ObjectStore

JSON: TypeAlias = Any
Publish: TypeAlias = "Callable[[str, str, Mapping[str, JSON]], None]"  # client id, topic, payload
Record: TypeAlias = "Callable[[str, Mapping[str, JSON]], None]"  # kind, values
Parameters: TypeAlias = "Mapping[str, JSON]"
Answer: TypeAlias = "dict[str, JSON]"

_ID_BITS = 130  # 26 characters of base 32, as the service's ids have
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"

FIRMWARE_BUCKET = "panorama-firmware"
PACKAGE_BUCKET = "panorama-packages"
DEPLOYMENT_BUCKET = "panorama-deployments"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the control plane is reached: the API, MQTT, and objects for devices.

    `claim_port` is where claims connect, when that is another place than for devices.
    """

    api_url: str
    mqtt_host: str
    mqtt_port: int
    https_url: str
    claim_port: int = 0

    @property
    def mqtt(self) -> str:
        return f"{self.mqtt_host}:{self.mqtt_port}"

    @property
    def claims(self) -> str:
        return f"{self.mqtt_host}:{self.claim_port or self.mqtt_port}"


@dataclass(frozen=True, slots=True)
class Settings:
    """Times in seconds of the plane's clock. `quotas`: off, unless asked for."""

    claim_valid_s: float = 300.0  # vendor's developer guide, 2024 edition
    offline_after_s: float = 90.0  # ours: three missed status updates
    lease_s: float = 5 * 86400.0  # since the last status, as in the vendor's sample outputs
    certificate_s: float | None = None  # of device certificates, in real time; None: for ever
    package_job_s: float = 0.0  # how long template and import jobs take; 0: done when answered
    quotas: Quotas = OFF

    def hastened(self, times: float) -> Settings:
        """The same with what takes long done so many times sooner.

        The clock stays what it is, and so does what depends on the pace of devices.
        """
        return replace(
            self,
            claim_valid_s=self.claim_valid_s / times,
            lease_s=self.lease_s / times,
            package_job_s=self.package_job_s / times,
        )


@dataclass(slots=True)
class Core:
    """Shared by the parts of one control plane."""

    clock: Callable[[], float]
    draw: random.Random
    authority: Authority
    objects: ObjectStore
    publish: Publish
    disconnect: Callable[[str], None]
    record: Record
    endpoints: Endpoints
    account: str
    region: str
    settings: Settings
    store: Store = field(default_factory=Store)
    secrets: SecretStore = field(init=False)

    def __post_init__(self) -> None:
        self.secrets = SecretStore(self.store.secrets)

    def new_id(self, prefix: str) -> str:
        """`<prefix>-` and 26 characters, drawn: same seed, same ids."""
        bits = self.draw.getrandbits(_ID_BITS)
        return f"{prefix}-" + "".join(_ALPHABET[bits >> shift & 31] for shift in range(0, 130, 5))

    def arn(self, resource: str) -> str:
        return f"arn:aws:panorama:{self.region}:{self.account}:{resource}"

    def object_url(self, bucket: str, key: str) -> str:
        return f"{self.endpoints.https_url}/{bucket}/{quote(key)}"
