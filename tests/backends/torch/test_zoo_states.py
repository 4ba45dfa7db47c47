"""Weights in what trainers write: found by whatever name, and nothing that is pickled is run."""

from __future__ import annotations

import argparse
import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from camcore.errors import InputError, MissingFileError
from camcore.registry import LoadOptions
from camcore_torch.zoo_states import fill


def network(classes=3):
    torch.manual_seed(classes)
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(3, 4, 3),
            norm=nn.BatchNorm2d(4),
            pool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
            fc=nn.Linear(4, classes),
        )
    )


def trained(shift=0.0):
    state = network().state_dict()
    return {k: v + shift if v.is_floating_point() else v for k, v in state.items()}


def prefixed(prefix, state):
    return {prefix + name: value for name, value in state.items()}


class Config(dict):
    """A mapping of a class of one's own, as configurations often are."""


class Runs:
    """Makes a file as it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def filled(path, classes=3, **options):
    model = network(classes)
    with torch.no_grad():
        for value in model.parameters():
            value.zero_()
    fill(model, LoadOptions(**(options or {"checkpoint": str(path)})))
    return model


def same(model, state):
    return all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


LAYOUTS = {
    "plain": lambda s: s,
    "state_dict": lambda s: {"state_dict": s, "epoch": 3},
    "model": lambda s: {"model": s, "optimizer": {"state": {0: {"step": torch.ones(1)}}}},
    "model_state_dict": lambda s: {"model_state_dict": s},
    "net": lambda s: {"net": s, "acc": np.float64(0.9)},
    "ema": lambda s: {"ema": s},
    "nested": lambda s: {"state": {"weights": {"teacher": s}}},
    "DataParallel": lambda s: {"state_dict": prefixed("module.", s)},
    "Lightning": lambda s: {
        "state_dict": {**prefixed("model.", s), "loss.weight": torch.ones(3)},
        "hyper_parameters": Config(lr=0.1),
        "args": argparse.Namespace(lr=0.1),
    },
    "compiled": lambda s: {"model": prefixed("_orig_mod.", s)},
    "compiled Lightning": lambda s: {"state_dict": prefixed("model._orig_mod.", s)},
    "a prefix of one's own": lambda s: {"state_dict": prefixed("wrapped.backbone.", s)},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_are_found_in_what_trainers_write(tmp_path, layout):
    path = tmp_path / "last.ckpt"
    torch.save(LAYOUTS[layout](trained(0.5)), path)
    assert same(filled(path), trained(0.5))


def test_the_old_format_is_read_too(tmp_path):
    torch.save({"net": trained(0.5)}, tmp_path / "a.t7", _use_new_zipfile_serialization=False)
    assert same(filled(tmp_path / "a.t7"), trained(0.5))


def test_safetensors_are_read(tmp_path, require):
    save = require("safetensors.torch").save_file
    save(prefixed("model.", trained(0.5)), str(tmp_path / "a.safetensors"))
    save(trained(0.5), str(tmp_path / "b.safetensors"))
    assert same(filled(tmp_path / "a.safetensors"), trained(0.5))
    assert same(filled(None, weights=str(tmp_path / "b.safetensors")), trained(0.5))


def test_of_several_that_fit_what_was_trained_is_taken_and_its_average_otherwise(tmp_path):
    path = tmp_path / "both.pth"
    torch.save({"state_dict_ema": trained(2), "state_dict": trained(1)}, path)
    assert same(filled(path), trained(1))
    torch.save({"model": None, "ema": trained(2)}, path)
    assert same(filled(path), trained(2))
    both = {**prefixed("ema_model.", trained(2)), **prefixed("model.", trained(1))}
    torch.save({"state_dict": both}, path)
    assert same(filled(path), trained(1))


def test_several_of_which_nothing_says_which_is_meant_are_refused(tmp_path):
    path = tmp_path / "two.pth"
    torch.save({"student": trained(1), "teacher": trained(2)}, path)
    with pytest.raises(InputError, match=r"holds several that fit: student, teacher\. Save the o"):
        filled(path)


def test_the_weights_of_a_pickled_module_are_read_without_its_classes(tmp_path):
    path = tmp_path / "whole.pt"
    model = network()
    torch.save({"model": model, "epoch": 1}, path)
    assert same(filled(path), model.state_dict())


def test_nothing_that_a_checkpoint_pickles_is_run(tmp_path):
    path, made = tmp_path / "evil.pth", tmp_path / "made"
    torch.save({"state_dict": trained(0.5), "callbacks": Runs(str(made))}, path)
    assert same(filled(path), trained(0.5))
    assert not made.exists()
    pickle.loads(pickle.dumps(Runs(str(made))))
    assert made.exists()


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        (
            {"state_dict": {"fc.weight": torch.ones(3, 4)}},
            r"do not fit Sequential: of its 9 tensors 8 missing, such as conv\.weight\. Give a ",
        ),
        (
            {"state_dict": {**trained(), "more": torch.ones(1)}},
            r"of its 9 tensors 1 not in the model, such as more\.",
        ),
        (
            prefixed("model.", network(5).state_dict()),
            r"2 of another shape, such as fc\.weight \(5, 4\) for \(3, 4\)\. They are for 5 "
            r"classes: say so, by num_classes=5, on the command line --num-classes 5\.$",
        ),
        ({"epoch": 3}, r"bad\.pth holds no tensors by name\."),
        (3, r"bad\.pth holds no tensors by name\."),
        (
            {"state_dict": {k: v * np.nan for k, v in trained().items()}},
            r"bad\.pth holds weights that no model computes with: conv\.weight, .* NaN",
        ),
    ],
)
def test_what_does_not_fit_is_reported(tmp_path, saved, message):
    torch.save(saved, tmp_path / "bad.pth")
    with pytest.raises(InputError, match=message):
        filled(tmp_path / "bad.pth")


def test_files_that_are_no_checkpoints_are_refused(tmp_path):
    torch.jit.script(nn.ReLU()).save(tmp_path / "script.pt")
    (tmp_path / "junk.pth").write_bytes(b"junk")
    for name, message in {
        "script.pt": "cannot be read: it is TorchScript, whose layers cannot be looked at",
        "junk.pth": "cannot be read: .* Expected a checkpoint as a trainer writes it",
    }.items():
        with pytest.raises(InputError, match=message):
            filled(tmp_path / name)
    with pytest.raises(MissingFileError):
        filled(tmp_path / "none.ckpt")
