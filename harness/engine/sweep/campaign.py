"""A sweep over several processes: each looks at its share of the trunk's moments."""

from __future__ import annotations

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.engine.sweep.sweep import Findings, Share, Sweep
from harness.errors import InputError

if TYPE_CHECKING:
    from harness.engine.sweep.road import Load

WORKERS_MAX = 64
_HASH_SEED = "PYTHONHASHSEED"  # workers must number states alike, so that they can be merged


@dataclass(frozen=True, slots=True)
class Order:
    """What to sweep. `states_max` is for all workers together."""

    road: str
    load: Load
    depth: int = 1
    states_max: int = 10_000_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """Findings of all workers, and what the sweep took."""

    findings: Findings
    wall_s: float
    workers: int

    @property
    def states_per_s(self) -> float:
        return len(self.findings.states) / self.wall_s


def sweep(order: Order, workers: int = 1) -> Outcome:
    """Sweep with that many processes. Raises `InputError` for an order that makes no sense."""
    if not 1 <= workers <= WORKERS_MAX:
        raise InputError(f"{workers} workers", hint=f"from 1 to {WORKERS_MAX}")
    Sweep(order.road, order.load, depth=order.depth)  # refuses nonsense before anything starts
    began_s = time.perf_counter()
    findings = _share(order, Share()) if workers == 1 else _spread(order, workers)
    return Outcome(findings, time.perf_counter() - began_s, workers)


def _spread(order: Order, workers: int) -> Findings:
    findings = Findings()
    before = os.environ.get(_HASH_SEED)
    os.environ[_HASH_SEED] = "0"
    try:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            shares = [Share(worker, workers) for worker in range(workers)]
            for part in pool.map(_share, [order] * workers, shares):
                findings.merge(part)
    finally:
        if before is None:
            del os.environ[_HASH_SEED]
        else:
            os.environ[_HASH_SEED] = before
    findings.failures.sort(key=lambda failure: [(c.moment, c.survivors) for c in failure.path])
    return findings


def _share(order: Order, share: Share) -> Findings:
    states_max = -(-order.states_max // share.workers)
    run = Sweep(order.road, order.load, depth=order.depth, share=share, states_max=states_max)
    return run.run()
