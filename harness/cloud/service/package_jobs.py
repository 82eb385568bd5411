"""Jobs that make package versions: cameras from a template, imports from the object store.

A job is PENDING for as long as `Settings.package_job_s` says; then it is carried out once, and has
succeeded or failed with a message for good.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from harness.cloud.service.cameras import Cameras
from harness.cloud.service.imports import Imports

if TYPE_CHECKING:
    from harness.cloud.service.core import Core
    from harness.cloud.service.packages import Packages
    from harness.cloud.service.state import ImportJob, TemplateJob


class PackageJobs:
    """Both kinds of jobs, and when each of them is due."""

    def __init__(self, core: Core, packages: Packages) -> None:
        self._core = core
        self.cameras = Cameras(core, packages, self._queue)
        self.imports = Imports(core, packages, self._queue)
        self._due: list[tuple[float, str]] = []

    def restore(self) -> None:
        """Take up jobs that were pending when the plane stopped."""
        for table in (self._core.store.template_jobs, self._core.store.import_jobs):
            for job in table.values():
                if job.status == "PENDING":
                    self._remind(job)

    def expire(self) -> float | None:
        """Carry out what is due by now; when the next job is, if there is one."""
        while self._due and self._due[0][0] <= self._core.clock():
            self._run(heapq.heappop(self._due)[1])
        return self._due[0][0] if self._due else None

    def _queue(self, job: TemplateJob | ImportJob) -> None:
        """A new job, which stands in its table already."""
        self._remind(job)
        self.expire()

    def _remind(self, job: TemplateJob | ImportJob) -> None:
        when_s = job.created_s + self._core.settings.package_job_s
        heapq.heappush(self._due, (when_s, job.id))

    def _run(self, identifier: str) -> None:
        store = self._core.store
        if identifier in store.template_jobs:
            self.cameras.carry_out(store.template_jobs[identifier])
        else:
            self.imports.carry_out(store.import_jobs[identifier])
