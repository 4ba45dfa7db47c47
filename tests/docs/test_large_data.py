"""The snippets of the page on data sets run."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from camcore.photos.io import write_image

PAGE = Path(__file__).parents[2] / "docs" / "large_data.md"


def test_its_snippets_run(tmp_path, monkeypatch, capsys, require):
    pytest.importorskip("pyarrow")
    require("tiny_models")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for seed in range(3):
        pixels = np.random.default_rng(seed).integers(0, 256, (30, 45, 3), dtype=np.uint8)
        write_image(tmp_path / "photos" / f"{seed}.png", pixels)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, object] = {}
    for block in blocks:
        assert "torchvision:resnet50" in block or "sample" in block
        exec(block.replace("torchvision:resnet50", "tiny_models:named"), names)
    assert len(names["drawn"]) == 3
    printed = capsys.readouterr().out
    assert printed.startswith("3 0\n")
    assert printed.count("(1, 8, 8)") == 3
    assert "average drop" in printed


def test_columns_and_options_that_it_names_are_there(tmp_path, require):
    from inspect import signature

    from pyarrow import parquet

    from camcore.batch import Cluster, explain_dataset, read_results

    require("tiny_models")
    pixels = np.random.default_rng(0).integers(0, 256, (30, 45, 3), dtype=np.uint8)
    write_image(tmp_path / "a.png", pixels)
    explain_dataset(tmp_path / "a.png", "tiny_models:named", tmp_path / "out", maps="input")
    columns = set(parquet.read_schema(read_results(tmp_path / "out").files[0]).names)
    text = PAGE.read_text("utf-8")
    table = text[text.index("| column | |") : text.index("pandas, DuckDB")]
    named = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.M))))
    assert named - {"raw_1"} == columns
    assert {"image_column", "id_column", "recursive", "overlay_size", "threads", "resume"} <= set(
        signature(explain_dataset).parameters
    )
    assert {"workers", "gpus"} <= set(signature(Cluster).parameters)


def test_the_clusters_file_is_one_that_ray_reads():
    yaml = pytest.importorskip("yaml")
    util = pytest.importorskip("ray.autoscaler._private.util")
    config = yaml.safe_load((PAGE.parents[1] / "deploy" / "ray-cluster.yaml").read_text("utf-8"))
    prepared = util.prepare_config(config)
    util.validate_config(prepared)
    assert prepared["max_workers"] == len(config["provider"]["worker_ips"])
