"""The service's quotas, as data: what a file says and a plan carries.

How the control plane enforces them is in `harness/cloud/service/quota.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Quotas:
    """Of one account in one region; None: no limit. The defaults are those of the vendor's
    developer guide, 2024 edition.

    Rates are requests per second of real time, whatever the plane's clock: a run that is thirty
    times faster than the wall clock has scripts that are no faster.
    """

    devices: int | None = 50
    packages: int | None = 50
    versions_per_package: int | None = 20  # patch versions count
    applications_per_device: int | None = 10
    streams_per_application: int | None = 8
    deployments_per_device_day: int | None = 200
    requests_per_s: float | None = 5.0
    changes_per_s: float | None = 1.0  # of them, those that create or change something


NAMES = tuple(field.name for field in fields(Quotas))
DOCUMENTED = Quotas()
OFF = Quotas(**dict.fromkeys(NAMES))
