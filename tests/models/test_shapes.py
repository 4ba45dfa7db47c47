"""What a table of rows cannot say of models' shapes: refusals, remat, quantisation, Lightning."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from architectures import by_hand, shapes_keras, shapes_torch

import camcore
from camcore.errors import BackendError, GradientError, LayerError


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """Largest difference relative to the largest value."""
    assert one.shape == other.shape
    scale = np.abs(other).max()
    assert scale > 0
    return float(np.abs(one - other).max() / scale)


@pytest.fixture
def pictures(torch):
    return shapes_torch.torch_images(2, (32, 32))


@pytest.mark.parametrize("outputs", ["logits", "main.scores", "1.0"])
def test_another_leaf_gives_another_map(torch, pictures, outputs):
    nests = {
        "logits": lambda f, y: {"aux": -y, "logits": y},
        "main.scores": lambda f, y: {"aux": y, "main": {"scores": 2 * y}},
        "1.0": lambda f, y: (y, (3 * y,)),
    }
    model = shapes_torch.returning(nests[outputs])
    plain = shapes_torch.returning(lambda f, y: y)
    factor = {"logits": 1, "main.scores": 2, "1.0": 3}[outputs]
    chosen = {} if outputs == "logits" else {"output": outputs}
    found = camcore.explain(model, pictures, 1, "backbone", **chosen).raw["backbone"]
    expected = camcore.explain(plain, pictures, 1, "backbone").raw["backbone"]
    assert apart(found, factor * expected) < 1e-6


def test_calls_of_a_shared_layer_have_maps_of_their_own(torch, pictures):
    model = shapes_torch.shared()
    maps = [
        camcore.explain(model, pictures, 3, f"conv#{call}").raw[f"conv#{call}"]
        for call in (0, 1, 2, -3, -2, -1)
    ]
    assert [one.shape for one in maps[:3]] == [(2, 28, 28), (2, 26, 26), (2, 24, 24)]
    for one, same in zip(maps[:3], maps[3:], strict=True):
        np.testing.assert_array_equal(one, same)
    several = camcore.explain(model, pictures, 3, ["conv#-3", "conv#-2", "conv"]).raw
    for one, same in zip(maps[:3], several.values(), strict=True):
        assert apart(one, same) < 1e-6


def test_torchscript_is_refused(torch, pictures):
    net = shapes_torch.returning(lambda _, logits: logits)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(net, pictures)
    with pytest.raises(BackendError, match=r"TorchScript.*Give the nn\.Module it was"):
        camcore.explain(traced, pictures)


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("layer", ["stem", "first", "first.0", "second"])
def test_checkpointed_layers_are_explained_as_if_they_were_not(torch, pictures, reentrant, layer):
    from torch.utils import checkpoint

    def again(function, x):
        return checkpoint.checkpoint(function, x, use_reentrant=reentrant)

    plain = shapes_torch.checkpointed(lambda function, x: function(x))
    model = shapes_torch.checkpointed(again)
    usual = checkpoint.CheckpointFunction
    found = camcore.explain(model, pictures, 2, layer, ["gradcam", "shapleycam", "ablationcam"])
    expected = camcore.explain(plain, pictures, 2, layer, [*found])
    for method, one in found.items():
        assert apart(one.raw[layer], expected[method].raw[layer]) < 1e-5
    assert checkpoint.CheckpointFunction is usual
    assert list(camcore.explain(model, pictures).raw) == ["second@activated"]


def test_other_threads_go_on_checkpointing(torch):
    from threading import Thread

    from torch.utils.checkpoint import checkpoint

    from camcore_torch import checkpoints

    ran = []

    def twice(x):
        ran.append(1)
        return x**2

    def elsewhere():
        x = torch.ones(1, requires_grad=True)
        checkpoint(twice, x, use_reentrant=True).backward()

    checkpoints.leave_out(True)
    try:
        other = Thread(target=elsewhere)
        other.start()
        other.join()
    finally:
        checkpoints.leave_out(False)
    assert len(ran) == 2


def test_gradcam_is_refused_before_a_dynamically_quantised_layer(torch, pictures):
    model = shapes_torch.dynamically_quantised()
    with pytest.raises(GradientError, match=r"'fc'.*quantised.*method='eigencam'"):
        camcore.explain(model, pictures, 1)
    plain = shapes_torch.returning(lambda _, logits: logits)
    for method in ("eigencam", "scorecam", "ablationcam"):
        found = camcore.explain(model, pictures, 1, method=method)
        expected = camcore.explain(plain, pictures, 1, method=method)
        assert list(found.raw) == ["backbone"]
        # Weights of eight bits: the scores differ in the third digit, the activations in none.
        digits = 1e-6 if method == "eigencam" else 0.1
        assert apart(found.raw["backbone"], expected.raw["backbone"]) < digits


def test_quantised_activations_serve_methods_without_gradients_alone(torch, pictures):
    model = shapes_torch.statically_quantised()
    kept = []
    model.conv.register_forward_hook(lambda module, args, output: kept.append(output.dequantize()))
    found = camcore.explain(model, pictures, 1, "conv", "eigencam").raw["conv"]
    kept.clear()
    model(pictures)
    expected = camcore.methods.eigencam(kept[0].numpy())
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    with pytest.raises(LayerError, match=r"'conv' returned.*quantised.*before it was quantised"):
        camcore.explain(model, pictures, 1, "conv")
    with pytest.raises(LayerError, match=r"quantised"):
        camcore.explain(model, pictures, 1)


def test_lazy_modules_must_have_run(torch, pictures):
    nn = torch.nn
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    with pytest.raises(BackendError, match=r"lazy layers.*Run it once"):
        camcore.explain(model, pictures)
    model(pictures)
    assert list(camcore.explain(model, pictures).raw) == ["1"]


def test_lightning_explains_while_it_validates(torch, require, tmp_path):
    lightning = require("pytorch_lightning")
    maps = []

    class Explains(lightning.Callback):
        def on_validation_batch_end(self, trainer, module, outputs, batch, *_):
            assert not torch.is_grad_enabled()
            maps.append(camcore.explain(module, batch[0], 3).raw["net.layer4"])

    model = shapes_torch.lightning()
    steps = {
        "validation_step": lambda self, batch, index: self.log("score", self(batch[0]).mean()),
        "training_step": lambda self, batch, index: self(batch[0]).square().mean(),
        "configure_optimizers": lambda self: torch.optim.SGD(self.parameters(), lr=0.0),
    }
    for name, step in steps.items():
        setattr(type(model), name, step)
    images = shapes_torch.torch_images(2)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images), batch_size=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            accelerator="cpu", max_steps=1, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, callbacks=[Explains()],
            num_sanity_val_steps=0, default_root_dir=tmp_path,
        )  # fmt: skip
        trainer.validate(model, loader, verbose=False)
        expected = camcore.explain(model, images, 3).raw["net.layer4"]
        model.train()
        trainer.fit(model, loader, loader)
    assert len(maps) == 2
    assert apart(maps[0], expected) < 1e-6
    assert model.net.bn1.num_batches_tracked == 1


@pytest.mark.parametrize("mode", ["full", "activations", "list_of_layers", "larger_than"])
@pytest.mark.parametrize("layer", ["backbone", "backbone/one", "backbone/rectifier"])
def test_rematerialised_keras_layers_are_explained_as_if_they_were_not(keras, mode, layer):
    pictures = shapes_keras.pictures(2)
    model = shapes_keras.rematerialised(mode)
    plain = shapes_keras.rematerialised(None)
    plain.set_weights(model.get_weights())
    modes = {one: one._remat_mode for one in model._flatten_layers()}
    assert any(modes.values())
    found = camcore.explain(model, pictures, 2, layer).raw[layer]
    assert apart(found, camcore.explain(plain, pictures, 2, layer).raw[layer]) < 1e-6
    assert {one: one._remat_mode for one in model._flatten_layers()} == modes


def test_quantised_keras_models_pull_back_as_keras_does(keras):
    pictures = shapes_keras.pictures(2)
    model, plain = shapes_keras.quantised(), shapes_keras.quantised(None)
    for method in ("eigencam", "gradcam", "layercam"):
        found = camcore.explain(model, pictures, 1, "backbone", method).raw["backbone"]
        expected = camcore.explain(plain, pictures, 1, "backbone", method).raw["backbone"]
        assert apart(found, expected) < (1e-6 if method == "eigencam" else 0.05)


def test_building_is_all_that_happens_to_a_model_never_called(keras):
    pictures = shapes_keras.pictures(2)
    for make in (shapes_keras.subclassed, shapes_keras.never_built):
        model, called = make(), make()
        camcore.explain(model, pictures)
        keras.utils.set_random_seed(0)
        assert [w.shape for w in model.weights] == [w.shape for w in _called(called, pictures)]
        assert not [layer for layer in model._flatten_layers() if "call" in vars(layer)]


def _called(model, pictures):
    model(pictures, training=False)
    return model.weights


def on_torch() -> None:
    """The rows of Keras, on its torch backend."""
    for row in shapes_keras.ARCHITECTURES:
        if "tf_keras" in row.needs:
            continue
        row = replace(row, framework="torch")
        model, inputs = row.make(), row.inputs(2)
        found = camcore.explain(model, inputs, row.target, **row.options)
        assert list(found.raw) == [row.layer], (row.name, list(found.raw))
        expected = by_hand.gradcam(row, model, inputs)
        assert apart(found.raw[row.layer], expected) < 1e-5, row.name
        print(row.name)


def test_keras_on_the_torch_backend(torch, keras, run_on_torch_backend):
    assert len(run_on_torch_backend(__file__).splitlines()) > 15


if __name__ == "__main__":
    on_torch()
