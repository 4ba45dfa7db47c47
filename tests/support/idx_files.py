"""Write data sets as IDX files, as Fashion-MNIST is handed out."""

from __future__ import annotations

import gzip

import numpy as np


def idx(values) -> bytes:
    """An array of bytes as an IDX file, not yet compressed."""
    values = np.asarray(values, np.uint8)
    head = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    return head + values.tobytes()


def write_fashion(folder, train, test):
    """Write pairs of images (N, 28, 28) and labels (N,) as the files of Fashion-MNIST."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, (images, labels) in {"train": train, "t10k": test}.items():
        for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(idx(values)))
    return folder


def striped(count, seed=0):
    """Noisy images whose class is the row of a bright stripe, every class equally often."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 10
    images = random.integers(0, 100, (count, 28, 28))
    images[np.arange(count), 4 + 2 * labels] += 150
    return images.astype(np.uint8), labels.astype(np.uint8)
