"""How the cores and GPUs of machines are shared out among Ray's workers."""

from __future__ import annotations

import pytest

from camcore.batch import Cluster
from camcore.batch.dataset.on_ray import _on_device, _shared_out, _threaded
from camcore.batch.dataset.work import Explaining, Pace
from camcore.zoo import ModelName


@pytest.mark.parametrize(
    ("cluster", "machines", "expected"),
    [
        # A worker for two cores, or one where there is but one.
        (Cluster(), [{"CPU": 8}], (4, 2, 0)),
        (Cluster(), [{"CPU": 1}], (1, 1, 0)),
        # A worker a GPU; a fraction lets several share one.
        (Cluster(), [{"CPU": 32, "GPU": 4}], (4, 8, 1)),
        (Cluster(gpus=0.5), [{"CPU": 32, "GPU": 4}], (8, 4, 0.5)),
        (Cluster(gpus=0), [{"CPU": 32, "GPU": 4}], (16, 2, 0)),
        # What is said stands; a worker has no more cores than a machine has.
        (Cluster(workers=3), [{"CPU": 2}, {"CPU": 4}], (3, 2, 0)),
        (Cluster(workers=1), [{"CPU": 2}, {"CPU": 4}], (1, 4, 0)),
        (Cluster(workers=2, cpus=1), [{"CPU": 8}], (2, 1, 0)),
        (Cluster(cpus=4), [{"CPU": 8}, {"CPU": 8}], (4, 4, 0)),
        # A head that explains nothing.
        (Cluster(), [{}, {"CPU": 4}], (2, 2, 0)),
        # No more workers than shards, here 20.
        (Cluster(), [{"CPU": 100}], (20, 5, 0)),
    ],
)
def test_cores_and_gpus_are_shared_out(cluster, machines, expected):
    share = _shared_out(cluster, 20, machines)
    assert (share.workers, share.cpus, share.gpus) == expected


@pytest.mark.parametrize(
    ("spec", "device", "gpus", "expected"),
    [
        ("timm:resnet50", None, 1, "cuda"),
        ("timm:resnet50", None, 0, None),
        ("timm:resnet50", "cpu", 1, "cpu"),
        ("keras:ResNet50", None, 1, None),  # TensorFlow takes the GPU that it is shown
    ],
)
def test_a_pytorch_model_goes_to_its_workers_gpu(spec, device, gpus, expected):
    task = Explaining(ModelName(spec, device=device), Pace())
    assert _on_device(task, gpus).model.device == expected


def test_a_worker_has_as_many_threads_as_cores():
    task = Explaining(ModelName("timm:resnet50"), Pace(batch=4))
    assert [_threaded(task, cpus).pace.threads for cpus in (1, 3, 16)] == [2, 3, 8]
    assert _threaded(task, 3).pace.batch == 4
    said = Explaining(ModelName("timm:resnet50"), Pace(threads=5))
    assert _threaded(said, 1).pace.threads == 5
