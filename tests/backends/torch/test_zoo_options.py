"""What PyTorch's models are loaded with: the library's own weights, classes, a device, a pickle."""

from __future__ import annotations

from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import nn

import camcore
from camcore import zoo
from camcore.errors import InputError


@pytest.fixture
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)


@pytest.fixture
def hub_cache(tmp_path, require, monkeypatch):
    """An empty cache of the Hugging Face Hub, with no network."""
    constants = require("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def altered(state):
    return {k: v + 0.01 if v.is_floating_point() else v for k, v in state.items()}


def equal(model, state):
    return all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


def test_torchvisions_own_weights_come_from_its_cache(tmp_path, require, monkeypatch):
    models = require("torchvision.models")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights = models.SqueezeNet1_1_Weights.DEFAULT
    saved = altered(models.squeezenet1_1().state_dict())
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(saved, tmp_path / "hub" / "checkpoints" / weights.url.rpartition("/")[2])
    loaded = zoo.load_model("torchvision:squeezenet1_1", pretrained=True)
    assert loaded.pretrained
    assert not loaded.model.training
    assert equal(loaded.model, saved)
    assert loaded.classes == tuple(weights.meta["categories"])


def test_torchvisions_own_weights_without_a_network_say_what_to_do(tmp_path, require, monkeypatch):
    require("torchvision")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def refused(*args, **options):
        raise URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "urlopen", refused)
    with pytest.raises(InputError) as caught:
        zoo.load_model("torchvision:squeezenet1_1", pretrained=True)
    assert "own weights of torchvision:squeezenet1_1 cannot be loaded: <urlopen" in str(
        caught.value
    )
    assert str(caught.value).endswith("give it as weights, on the command line by --weights.")


def test_nothing_is_downloaded_unless_it_is_asked_for(require, monkeypatch):
    def refused(*args, **options):
        raise AssertionError("downloaded")

    require("torchvision")
    monkeypatch.setattr(torch.hub, "urlopen", refused)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refused)
    assert not zoo.load_model("torchvision:squeezenet1_1").pretrained


def test_timms_own_weights_come_from_the_hubs_cache(hub_cache, require):
    timm = require("timm")
    save = require("safetensors.torch").save_file
    model = timm.create_model("test_resnet")
    saved = altered(model.state_dict())
    repository = hub_cache / f"models--{model.pretrained_cfg['hf_hub_id'].replace('/', '--')}"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    save(saved, str(snapshot / "model.safetensors"))
    loaded = zoo.load_model("timm:test_resnet", pretrained=True)
    assert loaded.pretrained
    assert equal(loaded.model, saved)


def test_timms_own_weights_without_a_network_say_what_to_do(hub_cache, require):
    require("timm")
    with pytest.raises(
        InputError, match=r"own weights of timm:test_resnet cannot be loaded: .*by --"
    ):
        zoo.load_model("timm:test_resnet", pretrained=True)


@pytest.mark.parametrize("spec", ["torchvision:squeezenet1_1", "timm:test_resnet"])
def test_a_model_is_made_for_the_number_of_classes(spec, photo, require):
    require("timm")
    require("torchvision")
    loaded = zoo.load_model(spec, num_classes=3, classes=["a", "b", "c"])
    result = camcore.explain(loaded.model, loaded.preprocess(photo), **loaded.defaults)
    assert result.outputs.shape == (1, 3)
    assert loaded.classes == ("a", "b", "c")
    assert zoo.load_model(spec, num_classes=3).classes is None


def test_a_checkpoint_of_another_number_of_classes_says_which(tmp_path, require):
    timm = require("timm")
    saved = timm.create_model("test_resnet", num_classes=3).state_dict()
    torch.save({"state_dict": saved}, tmp_path / "last.ckpt")
    path = str(tmp_path / "last.ckpt")
    with pytest.raises(InputError, match=r"They are for 3 classes: say so, by num_classes=3"):
        zoo.load_model("timm:test_resnet", checkpoint=path)
    loaded = zoo.load_model("timm:test_resnet", checkpoint=path, num_classes=3)
    assert loaded.pretrained
    assert equal(loaded.model, saved)


def test_a_model_is_put_on_the_device(photo, require):
    require("timm")
    assert zoo.load_model("timm:test_resnet", device="cpu").pretrained is False
    on_meta = zoo.load_model("timm:test_resnet", device="meta").model
    assert {value.device.type for value in on_meta.parameters()} == {"meta"}
    with pytest.raises(InputError, match=r"cannot be moved to the device 'nowhere': .*such as cpu"):
        zoo.load_model("timm:test_resnet", device="nowhere")


class Net(nn.Sequential):
    """A module of a class of one's own."""


def test_a_pickled_module_is_loaded_where_its_classes_are_said_to_be_safe(tmp_path, photo):
    torch.manual_seed(0)
    model = Net(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    path = tmp_path / "whole.pt"
    torch.save(model, path)
    with pytest.raises(InputError) as caught:
        zoo.load_model(f"torch:{path}")
    said = str(caught.value)
    assert said.startswith(f"{path} holds pickled code (a ")
    assert "test_zoo_options.Net), which is run when it is loaded" in said
    assert "torch.load(path, weights_only=False)" in said
    assert "torch.export.save, .pt2" in said
    with torch.serialization.safe_globals([Net, set, *(type(part) for part in model)]):
        loaded = zoo.load_model(f"torch:{path}")
    assert loaded.assumed == "RGB from 0 to 1, 224×224"
    inputs = loaded.preprocess(photo)
    found, expected = (camcore.explain(one, inputs, 1) for one in (loaded.model, model))
    np.testing.assert_array_equal(found.maps, expected.maps)


def test_other_files_in_the_place_of_a_pickled_module_are_refused(tmp_path):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "state.pt")
    torch.jit.trace(nn.ReLU(), torch.ones(1)).save(tmp_path / "script.pt")
    (tmp_path / "junk.pt").write_bytes(b"junk")
    for name, message in {
        "state.pt": r"holds weights, a OrderedDict, and no model\. Name the model that they are of",
        "script.pt": r"script\.pt cannot be read: it is TorchScript, whose layers",
        "junk.pt": r"junk\.pt cannot be read: .* Expected a module as torch\.save",
    }.items():
        with pytest.raises(InputError, match=message):
            zoo.load_model(f"torch:{tmp_path / name}")
    with pytest.raises(InputError, match=r"holds its own weights; got weights='w.pth'"):
        zoo.load_model(f"torch:{tmp_path / 'state.pt'}", "w.pth")


def test_the_demos_model_keeps_its_classes(require):
    require("timm")
    with pytest.raises(InputError, match=r"is for ImageNet's classes.*; got num_classes=3\."):
        zoo.load_model("demo-torch:efficientnet_lite0", num_classes=3)
