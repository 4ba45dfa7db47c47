"""A cluster of two machines on this one: the same rows as one process, whatever is lost midway."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import ray
import ray.cluster_utils

from camcore.batch import Cluster, evaluate_dataset, explain_dataset, read_results
from camcore.batch.dataset.parts import part_files
from camcore.photos.io import write_image

MODEL = "tiny_models:slow"
COUNT = 600
PATIENCE = 240
"""Seconds after which a test that waits gives up."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory, photographs):
    """Six hundred photographs: some real ones, each turned, moved and darkened in its own way."""
    folder = tmp_path_factory.mktemp("photos")
    small = [photo[::6, ::6] for photo in photographs.values()]
    for number in range(COUNT):
        photo = small[number % len(small)]
        shifted = np.roll(np.rot90(photo, number // 7 % 4), number, axis=1)
        darker = (shifted * (0.5 + 0.5 * number / COUNT)).astype(np.uint8)
        write_image(folder / f"{number:03}.png", darker)
    return folder


@pytest.fixture(scope="module")
def expected(photos, tmp_path_factory):
    """The rows that one process writes."""
    folder = tmp_path_factory.mktemp("alone")
    done = explain_dataset(photos, MODEL, folder, part=8)
    assert (done.samples, done.failed) == (COUNT, 0)
    return rows(folder)


@pytest.fixture(scope="module")
def cluster():
    """Two machines of one core; one may be lost, and is replaced."""
    made = ray.cluster_utils.Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    made.add_node(num_cpus=1)
    yield made
    ray.shutdown()
    made.shutdown()


def rows(folder):
    """All rows, as they are to the last bit, ordered by id."""
    columns = ["uri", "size", "changed", "error", "class", "score", "raw_0", "outputs", "about"]
    return read_results(folder).to_pandas(columns)


def assert_same(folder, expected):
    found = rows(folder)
    assert found["id"].is_unique
    assert found["id"].tolist() == expected["id"].tolist()
    for name in expected:
        for here, there in zip(found[name], expected[name], strict=True):
            np.testing.assert_array_equal(here, there)
    left = [path for path in Path(folder).rglob("*") if path.name.startswith(".camcore")]
    assert left == []


def wait_for(what):
    """Wait until `what` returns something, and return that."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if found := what():
            return found
        time.sleep(0.02)
    pytest.fail(f"waited {PATIENCE} s in vain")


def workers():
    """The processes of Ray's that explain."""
    return [
        one
        for one in psutil.process_iter(["cmdline"])
        if "MapWorker" in " ".join(one.info["cmdline"] or ())
    ]


def run(photos, folder, cluster, at=None, upset=None):
    """Explain on the cluster, and upset it when a number of parts is done."""
    parts = 0

    def progress(part, total):
        nonlocal parts
        parts += 1
        assert total == COUNT
        if parts == at:
            upset()

    where = Cluster(cluster.address, workers=2, cpus=1)
    return explain_dataset(photos, MODEL, folder, part=8, ray=where, progress=progress)


def test_rows_are_those_of_one_process(photos, expected, cluster, tmp_path):
    done = run(photos, tmp_path, cluster)
    assert (done.samples, done.failed) == (COUNT, 0)
    assert_same(tmp_path, expected)


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_is_killed_loses_nothing(photos, expected, cluster, tmp_path, kind):
    """Killed at once, as for want of memory, and ended as a scheduler does."""
    lost = []

    def kill():
        lost.append(workers()[0])
        lost[0].send_signal(kind)

    done = run(photos, tmp_path, cluster, 3, kill)
    assert not lost[0].is_running()
    assert (done.samples, done.failed) == (COUNT, 0)
    assert_same(tmp_path, expected)


def test_a_machine_that_is_removed_loses_nothing(photos, expected, cluster, tmp_path):
    machine = list(cluster.worker_nodes)[-1]
    done = run(photos, tmp_path, cluster, 3, lambda: cluster.remove_node(machine))
    cluster.add_node(num_cpus=1)
    assert (done.samples, done.failed) == (COUNT, 0)
    assert_same(tmp_path, expected)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_goes_on(photos, expected, cluster, tmp_path, kind):
    command = [sys.executable, Path(__file__).parent / "drive.py"]
    command += [photos, tmp_path, cluster.address]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    first = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    wait_for(lambda: len(part_files(tmp_path)) >= 3)
    first.send_signal(kind)
    assert first.wait(PATIENCE) != 0
    wait_for(lambda: not workers())
    before = len(read_results(tmp_path))
    assert 0 < before < COUNT
    again = subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True, timeout=PATIENCE
    )
    assert again.stdout.split()[-3:] == [str(COUNT), "0", str(before)]
    assert_same(tmp_path, expected)


def test_all_that_is_wrong_with_a_source_is_named(photos, cluster, tmp_path):
    """A hundred tar files: three unreadable, twenty images broken, two ids twice."""
    folder = tmp_path / "shards"
    folder.mkdir()
    files = sorted(photos.iterdir())[:100]
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    wrong = set()
    for number in range(100):
        name = f"{number:02}.tar"
        if number in (13, 57, 99):
            (folder / name).write_bytes(b"no tar file" * 200)
            wrong.add(name)
            continue
        with tarfile.open(folder / name, "w") as tar:
            for place in range(3):
                is_broken = number < 20 and place == 1
                tar.add(broken if is_broken else files[number], f"{place}.png")
                if is_broken:
                    wrong.add(f"{name}/{place}")
            if number in (30, 60):
                tar.add(files[number], "2.png")
                wrong.add(f"{name}/2 (again)")
    # One of the files that cannot be read is among the first twenty.
    wrong.add("20.tar/1")
    with tarfile.open(folder / "20.tar", "w") as tar:
        for place in range(3):
            tar.add(broken if place == 1 else files[20], f"{place}.png")
    assert len(wrong) == 3 + 20 + 2
    where = Cluster(cluster.address, workers=2, cpus=1)
    done = explain_dataset(folder, MODEL, tmp_path / "out", part=8, ray=where)
    results = read_results(tmp_path / "out")
    assert {name for name, _ in results.errors()} == wrong
    frame = results.to_pandas()
    assert frame["id"].is_unique
    assert (done.samples, done.failed) == (97 * 3 + 3 + 2, 25)


def test_a_cluster_evaluates_as_one_process_does(photos, cluster, tmp_path):
    some = str(photos / "00?.png")
    wanted = {"methods": "gradcam", "metrics": ["deletion", "average_drop"], "steps": 4, "part": 2}
    where = Cluster(cluster.address, workers=2, cpus=1)
    evaluate_dataset(some, "tiny_models:named", tmp_path / "alone", **wanted)
    evaluate_dataset(some, "tiny_models:named", tmp_path / "ray", ray=where, **wanted)
    alone, together = (read_results(tmp_path / name) for name in ("alone", "ray"))
    columns = [name for name in alone.to_pandas() if "/" in name]
    assert len(columns) == 12
    for name in columns:
        np.testing.assert_array_equal(alone.to_pandas()[name], together.to_pandas()[name])
    for row in alone.table().rows:
        np.testing.assert_allclose(
            alone.table().interval(row, "deletion"),
            together.table().interval(row, "deletion"),
            rtol=1e-12,
        )


def test_the_drivers_memory_does_not_grow_with_the_samples(photos, cluster, tmp_path):
    listings = []
    for count in (1_000, 10_000):
        listing = tmp_path / f"{count}.txt"
        names = [photos / f"{number % COUNT:03}.png" for number in range(count)]
        # The same file may be listed under many names.
        lines = [f"{'./' * (number // COUNT)}{name.name}" for number, name in enumerate(names)]
        listing.write_text("\n".join(f"{photos}/{line}" for line in lines))
        listings.append(listing)
    where = Cluster(cluster.address, workers=2, cpus=1)
    this, peaks = psutil.Process(), []

    def explained(listing, name):
        largest = 0

        def progress(part, total):
            nonlocal largest
            largest = max(largest, this.memory_info().rss)

        done = explain_dataset(
            listing, "tiny_models:named", tmp_path / name, ray=where, progress=progress, batch=32
        )
        assert done.failed == 0
        peaks.append(largest)
        return done.samples

    explained(listings[0], "first")
    assert explained(listings[0], "few") == 1_000
    assert explained(listings[1], "many") == 10_000
    # A row kept for each of the nine thousand more would be some 10 MB.
    assert peaks[2] - peaks[1] < 5e6
