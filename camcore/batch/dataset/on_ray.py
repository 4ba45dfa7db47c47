"""Have shards done by Ray: a model in each worker, and nothing done twice where one is lost."""

from __future__ import annotations

import logging
import os
import pickle
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from camcore._shared.optional import needs
from camcore.batch.dataset.cluster import Cluster
from camcore.batch.dataset.plan import Shard
from camcore.batch.dataset.work import Done, Task, Worker
from camcore.zoo import LoadedModel, framework_of


class _Actor:
    """A worker in a process of Ray's; a shard comes in as a row, and leaves as what was done.

    The task comes with each shard: an actor's own arguments would be lost with the machine that
    holds them, and it could not be started again.
    """

    def __init__(self) -> None:
        self._worker: Worker | None = None

    def __call__(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        shard, task, folder, about = pickle.loads(row["shard"])
        if self._worker is None:
            self._worker = Worker(task, folder, about)
        done = self._worker(shard)
        return [{"shard": one.shard, "rows": one.rows, "failed": one.failed} for one in done]


def on_ray(
    shards: Sequence[Shard], task: Task, folder: Path, about: Mapping[str, Any], cluster: Cluster
) -> Iterator[Done]:
    """Do shards on a cluster, in no order.

    A shard whose worker or machine is lost is handed to another. That finds the parts which are
    there, and goes on behind them.

    Parameters
    ----------
    shards : sequence of Shard
    task : Explaining or Evaluating
        With a model by its name.
    folder : Path
        Where results go, by a name that all machines know.
    about : mapping
        As `Worker` takes it.
    cluster : Cluster

    Yields
    ------
    Done
        Of each part.

    Raises
    ------
    MissingExtraError
        Ray is not installed (extra ``ray``).
    """
    with needs("ray", "explaining on Ray"):
        import ray
        from ray import cloudpickle
        from ray.data import ActorPoolStrategy
    started = not ray.is_initialized()
    if started:
        ray.init(
            address=cluster.address,
            include_dashboard=None if cluster.address else False,
            log_to_driver=False,
            logging_level=logging.WARNING,
            runtime_env={"env_vars": _environment()},
        )
    try:
        machines = [one["Resources"] for one in ray.nodes() if one["Alive"]]
        share = _shared_out(cluster, len(shards), machines)
        task = _on_device(_threaded(task, share.cpus), share.gpus)
        with _quiet(ray.data.DataContext.get_current()):
            rows = ray.data.from_items(
                [{"shard": cloudpickle.dumps((one, task, folder, about))} for one in shards],
                override_num_blocks=len(shards),
            )
            done = rows.flat_map(
                _Actor,
                compute=ActorPoolStrategy(size=share.workers),
                num_cpus=share.cpus,
                num_gpus=share.gpus or None,
            )
            for row in done.iter_rows():
                yield Done(row["shard"], row["rows"], row["failed"])
    finally:
        if started:
            ray.shutdown()


@contextmanager
def _quiet(context: Any) -> Iterator[None]:
    """Keep Ray Data's own progress and plans off the screen; its dashboard has them."""
    logger = logging.getLogger("ray.data")
    before = context.enable_progress_bars, logger.level
    context.enable_progress_bars = False
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        context.enable_progress_bars = before[0]
        logger.setLevel(before[1])


@dataclass(frozen=True)
class _Share:
    """How many workers there are, and how many cores and GPUs each has."""

    workers: int
    cpus: float
    gpus: float


def _shared_out(cluster: Cluster, shards: int, machines: Sequence[Mapping[str, float]]) -> _Share:
    """Share cores and GPUs of machines out, as far as the `cluster` leaves it open.

    A worker lives on one machine, so it is not given more cores than any of these has.
    """
    cores = [int(one.get("CPU", 0)) for one in machines]
    graphics = sum(one.get("GPU", 0) for one in machines)
    gpus = cluster.gpus if cluster.gpus is not None else float(graphics > 0)
    wanted = cluster.workers
    if wanted is None and gpus:
        wanted = int(graphics / gpus)
    if wanted is None:
        wanted = int(sum(cores) / (cluster.cpus or 2))
    workers = max(1, min(wanted, shards))
    most = max([1, *cores])
    cpus = cluster.cpus if cluster.cpus is not None else min(most, max(1, sum(cores) // workers))
    return _Share(workers, float(cpus), gpus)


def _threaded(task: Task, cpus: float) -> Task:
    """Give a worker as many threads as it has cores, unless said otherwise."""
    if task.pace.threads is not None:
        return task
    threads = min(8, max(2, int(cpus)))
    return replace(task, pace=replace(task.pace, threads=threads))  # type: ignore[type-var]


def _on_device(task: Task, gpus: float) -> Task:
    """Have a PyTorch model loaded on a worker's GPU; the other frameworks take it themselves."""
    model = task.model
    if not gpus or isinstance(model, LoadedModel) or model.device is not None:
        return task
    if framework_of(model.spec) != "torch":
        return task
    return replace(task, model=replace(model, device="cuda"))  # type: ignore[type-var]


def _environment() -> dict[str, str]:
    """Tell workers where this process finds its modules, and what its frameworks are told."""
    wanted = [path for path in sys.path if path]
    kept = {name: value for name, value in os.environ.items() if name.startswith("TF_")}
    return {**kept, "PYTHONPATH": os.pathsep.join(wanted)}
