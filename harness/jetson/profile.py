"""Device profiles as data: what an appliance's hardware is and what its work costs.

Every number comes from a file in `device_profiles/appliances/` that names its source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.jetson.hardware import Hardware


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of appliance. Sizes in bytes, durations in seconds, rates in bytes per second."""

    name: str
    brand: str  # DeviceBrand: AWS_PANORAMA | LENOVO
    device_type: str  # DeviceType
    module: str
    board: str  # what firmware images are built for
    memory_bytes: int
    slot_bytes: int
    data_bytes: int
    fuse_level: int
    boot_s: float
    shutdown_s: float
    model_load_s: float
    storage_write_bytes_per_s: float
    storage_read_bytes_per_s: float
    sync_s: float
    hash_bytes_per_s: float
    uplink_bytes_per_s: float
    round_trip_s: float
    decode_ms: float
    inference_ms: float
    host_ms: float
    streams_max: int
    hardware: Hardware | None = None  # what the performance model needs
