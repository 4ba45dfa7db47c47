"""Gradients that float16 cannot hold as they are, against the same head by hand in float64."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import numpy as np
import pytest
from architectures.dtypes import policy

import camcore
from camcore import targets
from camcore.errors import CamcoreWarning

NEAR = 5 * float(np.finfo(np.float16).eps)


def apart(one, other):
    """Largest difference of each sample relative to its largest value; the worst of them."""
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    assert one.shape == other.shape
    rows = len(one)
    scale = np.abs(other).reshape(rows, -1).max(1)
    assert (scale > 0).all()
    return float((np.abs(one - other).reshape(rows, -1).max(1) / scale).max())


def seeded(torch, *layers, seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(*layers).eval()


def pooled(torch, std=2e-3):
    """Global pooling over 256 x 256, then a linear layer, all of weights that float16 has."""
    nn = torch.nn
    model = seeded(
        torch,
        *(nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)),
    )
    nn.init.normal_(model[-1].weight, std=std)
    return model.half().float(), torch.rand(2, 3, 256, 256)


def volume(torch):
    """A volume, pooled in two steps, the second of them in float32."""
    nn = torch.nn

    class Wide(nn.Module):
        def forward(self, x):
            return x.mean(2).to(self.dtype).mean((2, 3))

        dtype = torch.float32

    model = seeded(torch, nn.Conv3d(1, 6, 3, 1, 1), nn.GELU(), Wide())
    return model, torch.rand(2, 1, 32, 32, 32)


def dense(torch):
    """Scores at each position, of which a mean over all is explained."""
    nn = torch.nn
    model = seeded(torch, nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, 4, 1))
    return model, torch.rand(2, 3, 192, 192)


def steep(torch):
    """Weights so large that a gradient scaled without care overflows on its way."""
    model, x = pooled(torch)
    torch.nn.init.normal_(model[-1].weight, std=3e3)
    return model, x[:, :, :8, :8]


def sure(torch):
    """Probabilities so near to one that what is left of them is no float16."""
    model, x = pooled(torch, std=1.0)
    model[-1].bias.data[1] = 14.0
    return model, x[..., :64, :64]


def residual(torch):
    """A network of real depth."""
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    return torchvision.models.resnet18().eval(), torch.rand(1, 3, 96, 96)


def native(outputs):
    """The score of class 1, in either framework."""
    return outputs[:, 1] if len(outputs.shape) == 2 else outputs[:, 1].float().mean((-1, -2))


IN_TORCH = [
    ("pooled", pooled, "1", 1, "gradcam"),
    ("pooled, native", pooled, "1", native, "hirescam"),
    ("volume", volume, "1", 1, "gradcam"),
    ("dense", dense, "1", targets.Segmentation(1, np.ones((192, 192), bool)), "gradcam"),
    ("dense, native", dense, "1", native, "layercam"),
    ("steep", steep, "1", 1, "gradcam"),
    ("probability", sure, "1", targets.Probability(1), "gradcam"),
    ("residual", residual, "layer4", 3, "gradcam"),
]


def scaled_by_hand(torch, model, layer, inputs, target):
    """What loss scaling gives, written out."""
    kept = []
    module = dict(model.named_modules())[layer]
    hook = module.register_forward_hook(lambda m, a, out: kept.append(out))
    score = model(inputs)[:, target].float().sum() * 1024
    hook.remove()
    (gradient,) = torch.autograd.grad(score, kept)
    return kept[0].detach().float().numpy(), gradient.float().numpy() / 1024


def by_hand(torch, model, layer, inputs, target):
    """Activations of a float16 model, and the gradients of a float64 twin of what follows."""
    name = dict(model.named_modules())
    kept = []
    hook = name[layer].register_forward_hook(lambda m, a, out: kept.append(out.detach().double()))
    with torch.no_grad():
        scores = model(inputs)
    hook.remove()
    twin = copy.deepcopy(model).double()
    start = kept[0].requires_grad_()
    dict(twin.named_modules())[layer].register_forward_hook(lambda m, a, out: start)
    for module in twin.modules():
        if type(module).__name__ == "Wide":
            module.dtype = torch.float64
    outputs = twin(inputs.double())
    if isinstance(target, targets.Target):
        cotangent = target(scores.float().numpy()).cotangent
        outputs.backward(torch.from_numpy(np.asarray(cotangent, np.float64)))
    else:
        (native(outputs) if callable(target) else outputs[:, target]).sum().backward()
    return start.detach().numpy(), start.grad.numpy()


FORMULAS = {
    "gradcam": lambda a, g: (g.mean(tuple(range(2, g.ndim)), keepdims=True) * a).sum(1),
    "hirescam": lambda a, g: (g * a).sum(1),
    "layercam": lambda a, g: (np.maximum(g, 0) * a).sum(1),
}


@pytest.mark.parametrize("how", ["half", "autocast", "bfloat16"])
@pytest.mark.parametrize(("make", "layer", "target", "method"), [c[1:] for c in IN_TORCH],
                         ids=[c[0] for c in IN_TORCH])  # fmt: skip
def test_a_torch_map_is_that_of_wide_gradients(torch, make, layer, target, method, how):
    model, inputs = make(torch)
    low = torch.bfloat16 if how == "bfloat16" else torch.float16
    if how != "autocast":
        model, inputs = model.to(low), inputs.to(low)
    with torch.autocast("cpu", low) if how == "autocast" else nullcontext():
        found = camcore.explain(model, inputs, target, layer, method).raw[layer]
        if make is residual:
            exact = scaled_by_hand(torch, model, layer, inputs, target)
    if make is residual:
        assert apart(found, FORMULAS[method](*exact)) < 1e-6
        return
    a, g = by_hand(torch, model.float() if how == "autocast" else model, layer, inputs, target)
    assert apart(found, FORMULAS[method](a, g)) < (8 if how == "bfloat16" else 1) * NEAR


def second_order(torch):
    model, x = pooled(torch)
    nn = torch.nn
    return nn.Sequential(model[0], nn.Conv2d(8, 8, 1), nn.GELU(), *model[2:]).eval(), x


def test_a_hessian_product_in_float16_is_that_of_wide_derivatives(torch):
    model, inputs = second_order(torch)
    model, inputs = model.half(), inputs.half()
    evidence = camcore.Explainer(model, layer="0", method="shapleycam").evidence(inputs, 1)
    activations = torch.from_numpy(evidence.activations).double().requires_grad_()
    score = copy.deepcopy(model[1:]).double()(activations)[:, 1].sum()
    (gradients,) = torch.autograd.grad(score, activations, create_graph=True)
    (products,) = torch.autograd.grad(gradients, activations, activations.detach())
    assert gradients.abs().max() < 2**-24
    assert apart(evidence.gradients, gradients.detach()) < NEAR
    assert apart(evidence.hessian_products, products) < 4 * NEAR


def test_a_map_that_float16_loses_at_any_scale_is_said(torch):
    model, inputs = pooled(torch, std=1e-6)
    model, inputs = model.half(), inputs.half()
    with pytest.warns(CamcoreWarning, match=r"'1' are zero or too small .* samples 0, 1"):
        camcore.explain(model, inputs, 1, "1")


def test_an_input_gradient_reaches_through_float16(torch):
    model, inputs = pooled(torch)
    found = camcore.explain(model.half(), inputs.half(), 1, method="saliency")
    exact = inputs.half().double().requires_grad_()
    model.double()(exact)[:, 1].sum().backward()
    assert apart(next(iter(found.raw.values())), exact.grad.abs().amax(1)) < 0.02


class Narrow:
    """Keras networks with global pooling, and where in them float16 begins and ends."""

    @staticmethod
    def mixed(keras, layers):  # the issue of most: a float32 head on float16 features
        return [layers.Conv2D(8, 3, padding="same", activation="relu", name="seen"),
                layers.GlobalAveragePooling2D(), layers.Dense(4, dtype="float32")]  # fmt: skip

    @staticmethod
    def narrow_to_the_end(keras, layers):
        return [layers.Conv2D(8, 3, padding="same", activation="relu", name="seen"),
                layers.GlobalAveragePooling2D(), layers.Dense(4)]  # fmt: skip

    @staticmethod
    def softmax(keras, layers):
        return [layers.Conv2D(8, 3, padding="same", activation="relu", name="seen"),
                layers.GlobalAveragePooling2D(), layers.Dense(4),
                layers.Activation("softmax", dtype="float32")]  # fmt: skip

    @staticmethod
    def wide_layer(keras, layers):  # what is looked at is float32, what is between is not
        return [layers.Conv2D(8, 3, padding="same", activation="relu", name="seen",
                              dtype="float32"),
                layers.Activation("linear"), layers.GlobalAveragePooling2D(),
                layers.Dense(4, dtype="float32")]  # fmt: skip

    @staticmethod
    def steep(keras, layers):
        far = keras.initializers.RandomNormal(stddev=3e3)
        return [layers.Conv2D(8, 3, padding="same", activation="relu", name="seen"),
                layers.GlobalAveragePooling2D(), layers.Dense(4, dtype="float32",
                                                              kernel_initializer=far)]  # fmt: skip


@pytest.mark.parametrize("score", [1, native], ids=["class", "native"])
@pytest.mark.parametrize("kind", ["mixed", "narrow_to_the_end", "softmax", "wide_layer", "steep"])
def test_a_keras_map_is_that_of_the_head_by_hand(keras, kind, score):
    if kind == "softmax" and score is native:
        pytest.skip("a native score is of the probability")
    keras.utils.set_random_seed(0)
    side = 8 if kind == "steep" else 256
    with policy("mixed_float16"):
        model = keras.Sequential(
            [keras.Input((side, side, 3)), *getattr(Narrow, kind)(keras, keras.layers)]
        )
    dense = next(layer for layer in model.layers if isinstance(layer, keras.layers.Dense))
    if kind != "steep":
        dense.kernel.assign(dense.kernel * 4e-3)
    evidence = camcore.Explainer(model, layer="seen", method="hirescam").evidence(
        np.random.default_rng(0).random((2, side, side, 3), np.float32), score
    )
    weights = keras.ops.convert_to_numpy(dense.kernel)[:, 1].astype(np.float64) / side**2
    assert kind == "steep" or np.abs(weights).max() < 2**-21
    gradients = np.broadcast_to(weights[:, None, None], evidence.gradients.shape)
    assert apart(evidence.gradients, gradients) < NEAR


def test_a_keras_map_that_float16_loses_is_said(keras):
    with policy("mixed_float16"):
        model = keras.Sequential(
            [keras.Input((256, 256, 3)), *Narrow.narrow_to_the_end(keras, keras.layers)]
        )
    model.layers[-1].kernel.assign(model.layers[-1].kernel * 1e-5)
    with pytest.warns(CamcoreWarning, match="'seen' are zero or too small for float16"):
        camcore.explain(model, np.ones((1, 256, 256, 3), np.float32), 1, "seen")


def test_a_hessian_product_in_mixed_float16_is_that_of_wide_derivatives(keras, torch):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    with policy("mixed_float16"):
        head = [layers.Conv2D(8, 1, activation="gelu"), layers.GlobalAveragePooling2D(),
                layers.Dense(4, dtype="float32")]  # fmt: skip
        model = keras.Sequential(
            [keras.Input((256, 256, 3)), layers.Conv2D(8, 3, name="seen"), *head]
        )
    head[-1].kernel.assign(head[-1].kernel * 2e-3)
    x = np.random.default_rng(0).random((1, 256, 256, 3), np.float32)
    evidence = camcore.Explainer(model, layer="seen", method="shapleycam").evidence(x, 1)
    at = torch.from_numpy(evidence.activations).double().requires_grad_()
    kernel, bias = (torch.from_numpy(np.array(w)).double() for w in head[0].get_weights())
    inner = torch.einsum("bchw,cd->bdhw", at, kernel[0, 0]) + bias[:, None, None]
    gelu = torch.nn.functional.gelu(inner).mean((2, 3))
    weights = torch.from_numpy(np.array(head[-1].kernel)).double()[:, 1]
    (gradients,) = torch.autograd.grad((gelu @ weights).sum(), at, create_graph=True)
    (products,) = torch.autograd.grad(gradients, at, at.detach())
    assert gradients.abs().max() < 2**-22
    assert apart(evidence.gradients, gradients.detach()) < NEAR
    assert apart(evidence.hessian_products, products) < 4 * NEAR
