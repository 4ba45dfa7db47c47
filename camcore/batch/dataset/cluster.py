"""Say where Ray runs, and what of it a run takes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cluster:
    """Where Ray runs, and how many workers it has there.

    Parameters
    ----------
    address : str or None
        Of a running cluster, ``"auto"`` for that of this machine; None starts one on this
        machine, unless `ray.init` was called before.
    workers : int or None
        Processes with a model each; as many as there are GPUs, or, where there is none, half as
        many as there are cores.
    gpus : float or None
        GPUs of each; a fraction lets several share one. One, where the cluster has any, unless
        given.
    cpus : float or None
        Cores of each; an equal share of all unless given, and its threads are as many.
    """

    address: str | None = None
    workers: int | None = None
    gpus: float | None = None
    cpus: float | None = None
