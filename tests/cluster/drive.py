"""Explain photographs on a cluster, in a process that a test interrupts.

python drive.py PHOTOS OUTPUT ADDRESS
"""

from __future__ import annotations

import sys

from camcore.batch import Cluster, explain_dataset

if __name__ == "__main__":
    photos, output, address = sys.argv[1:]
    cluster = Cluster(address, workers=2, cpus=1)
    done = explain_dataset(photos, "tiny_models:slow", output, part=8, resume=True, ray=cluster)
    print(done.samples, done.failed, done.before)
