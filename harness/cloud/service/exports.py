"""Export tasks of log groups, as they are described; the oldest give way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cloud.service.state import ExportTask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.cloud.service.core import JSON, Core

TASKS_MAX = 500


class ExportTasks:
    """Those of one account in one region."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def add(self, described: Mapping[str, JSON]) -> None:
        tasks = self._core.store.export_tasks
        tasks[str(described["taskId"])] = ExportTask(described)
        while len(tasks) > TASKS_MAX:
            del tasks[next(iter(tasks))]
        self._core.store.commit()

    def described(self) -> list[Mapping[str, JSON]]:
        return [task.described for task in self._core.store.export_tasks.values()]
