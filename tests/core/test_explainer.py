"""The one path from a model to its maps, on networks that need no framework."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

import camcore
from camcore import methods
from camcore.adapter import LayerTrace
from camcore.errors import (
    BackendError,
    GradientError,
    InputError,
    LayerError,
    MethodError,
    PoorMapWarning,
    RecipeError,
    TargetError,
)
from camcore.outputs import look_like_probabilities
from camcore.recipes import PAPER, TABLE
from camcore.recipes.base import Rendering
from camcore.recipes.steps import Resize, Tanh
from camcore.registry import LoadedModel
from camcore.resize import LINEAR, resize
from camcore.targets import Class, Each, Linear, Probability, softmax, top
from camcore.testing import Dense, NumpyAdapter, Op, random_network
from camcore.viz import overlay

PHOTOS = np.random.default_rng(0).normal(size=(3, 2, 8, 8))
PHOTOS.setflags(write=False)


@pytest.fixture
def network():
    return random_network(head="deep")


def at(network, layer, target):
    """Activations and gradients as the adapter gives them."""
    trace = network.run(PHOTOS, [layer], [lambda leaves: {"": target(leaves[""]).cotangent}])
    return trace.layers[layer].activations, trace.layers[layer].gradients[0]


def test_an_explanation_is_the_methods_map_rendered_by_the_recipe(network):
    result = camcore.explain(network, PHOTOS, target=2, layer="relu2", method="hirescam")
    expected = methods.hirescam(*at(network, "relu2", Class(2)))
    np.testing.assert_array_equal(result.raw["relu2"], expected)
    np.testing.assert_array_equal(result.maps, camcore.recipes.PAPER.render([expected], (8, 8)))
    outputs = network.run(PHOTOS).outputs[""]
    np.testing.assert_array_equal(result.outputs, outputs)
    np.testing.assert_array_equal(result.scores, outputs[:, 2])
    np.testing.assert_array_equal(result.classes, [2, 2, 2])
    assert (result.method, result.recipe, result.layers) == ("hirescam", "paper", ("relu2",))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_maps_are_single_precision_of_the_inputs_size_with_maximum_one(rank, dtype):
    images = np.random.default_rng(1).normal(size=(2, 2, *[8] * rank)).astype(dtype)
    result = camcore.explain(random_network(rank), images)
    assert result.maps.shape == (2, *[8] * rank)
    assert result.maps.dtype == np.float32
    highest = result.maps.reshape(2, -1).max(axis=1)
    np.testing.assert_array_equal(highest, ~result.empty)
    assert result.maps.min() >= 0


def test_without_a_layer_the_last_map_is_explained(network):
    chosen = camcore.explain(network, PHOTOS)
    named = camcore.explain(network, PHOTOS, layer="relu2")
    assert chosen.layers == ("relu2",)
    np.testing.assert_array_equal(chosen.maps, named.maps)
    predicted = network.run(PHOTOS).outputs[""].argmax(axis=1)
    np.testing.assert_array_equal(chosen.classes, predicted)


def test_methods_share_one_pass(network):
    names = ["gradcam", "Grad-CAM++", "layercam", "eigencam"]
    results = camcore.explain(network, PHOTOS, layer="relu2", method=names)
    assert network.passes == 1
    assert list(results) == ["gradcam", "gradcampp", "layercam", "eigencam"]
    for name, result in results.items():
        alone = camcore.explain(network, PHOTOS, layer="relu2", method=name)
        np.testing.assert_array_equal(result.maps, alone.maps)


def test_targets_share_one_pass(network):
    results = camcore.explain(network, PHOTOS, Each(1, [2, 0, 4], Probability(3)), "relu2")
    assert network.passes == 1
    for target, result in zip([1, [2, 0, 4], Probability(3)], results, strict=True):
        alone = camcore.explain(network, PHOTOS, target, "relu2")
        np.testing.assert_array_equal(result.raw["relu2"], alone.raw["relu2"])
        np.testing.assert_array_equal(result.scores, alone.scores)
        np.testing.assert_array_equal(result.classes, alone.classes)


def test_methods_and_targets_share_one_pass(network):
    results = camcore.explain(network, PHOTOS, top(2), "relu2", ["gradcam", "xgradcam"])
    assert network.passes == 1
    order = np.argsort(-results["gradcam"][0].outputs, axis=1)
    for explanations in results.values():
        for rank, one in enumerate(explanations):
            np.testing.assert_array_equal(one.classes, order[:, rank])


def test_an_explainer_settles_its_layer_once(network):
    explainer = camcore.Explainer(network)
    for calls in range(3):
        explainer(PHOTOS, target=1)
        assert network.passes == calls + 2  # one survey


def test_maps_of_several_layers_are_joined(network):
    result = camcore.explain(network, PHOTOS, 1, ["relu1", "relu2"])
    assert network.passes == 1
    raw = [methods.gradcam(*at(network, name, Class(1))) for name in ("relu1", "relu2")]
    assert list(result.raw) == ["relu1", "relu2"]
    assert [maps.shape for maps in result.raw.values()] == [(3, 6, 6), (3, 4, 4)]
    np.testing.assert_array_equal(result.maps, camcore.recipes.PAPER.render(raw, (8, 8)))
    product = camcore.explain(network, PHOTOS, 1, ["relu1", "relu2"], fusion="product")
    expected = camcore.recipes.PAPER.render(raw, (8, 8), "product")
    np.testing.assert_array_equal(product.maps, expected)


def test_the_models_input_is_a_layer_like_any_other(network):
    result = camcore.explain(network, PHOTOS, 1, "@input", "hirescam")
    expected = methods.hirescam(*at(network, "@input", Class(1)))
    np.testing.assert_array_equal(result.raw["@input"], expected)


def test_the_recipe_decides_what_is_shown(network):
    result = camcore.explain(network, PHOTOS, 1, "relu2", recipe="keras-io")
    activations, gradients = at(network, "relu2", Class(1))
    weights = gradients.mean(axis=(0, 2, 3))
    raw = np.einsum("c,bcij->bij", weights, activations)
    np.testing.assert_allclose(result.raw["relu2"], raw, rtol=1e-12, atol=1e-14)
    expected = np.maximum(raw, 0) / raw.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(result.maps, expected, rtol=1e-6)


def test_no_evidence_is_flagged_and_shown_as_zeros():
    network = random_network(head="gap")
    fc = network.ops["fc"]
    network.ops["fc"] = Dense(np.stack([-abs(fc.weights[0]), abs(fc.weights[1])]), fc.bias[:2])
    # Nothing speaks for class 0, everything for class 1.
    result = camcore.explain(network, PHOTOS, [0, 1, 0])
    np.testing.assert_array_equal(result.empty, [True, False, True])
    np.testing.assert_array_equal(result.maps[[0, 2]], np.zeros((2, 8, 8)))
    assert result.maps[1].max() == 1
    assert result.raw["relu2"][0].min() < 0


def test_layers_that_share_no_evidence_are_flagged(network):
    result = camcore.explain(
        network, PHOTOS, 1, ["relu1", "relu2"], method=_only_a_corner(), fusion="product"
    )
    assert all(maps.max() > 0 for maps in result.raw.values())
    np.testing.assert_array_equal(result.empty, [True] * 3)
    assert not result.maps.any()


def _only_a_corner():
    def corner(activations):
        maps = np.zeros((len(activations), *activations.shape[2:]))
        maps[:, 0, 0 if maps.shape[1] == 4 else -1] = 1
        return maps

    return replace(methods.find("eigencam"), function=corner)


def native(outputs):
    """A score in the model's own framework: here with its derivative."""
    return 2 * outputs[:, 3], 2 * np.eye(outputs.shape[1])[[3] * len(outputs)]


def test_a_native_callable_is_a_target(network):
    result = camcore.explain(network, PHOTOS, native, "relu2")
    expected = camcore.explain(network, PHOTOS, 2 * Class(3), "relu2")
    np.testing.assert_array_equal(result.raw["relu2"], expected.raw["relu2"])
    np.testing.assert_array_equal(result.scores, expected.scores)
    assert result.classes is None


@pytest.mark.parametrize("method", ["gradcam", "eigencam"])
def test_native_and_numpy_targets_keep_their_places(network, method):
    results = camcore.explain(network, PHOTOS, Each(3, native, 1), "relu2", method)
    outputs = results[0].outputs
    expected = (outputs[:, 3], 2 * outputs[:, 3], outputs[:, 1])
    for result, scores in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result.scores, scores)


class Channelled(NumpyAdapter):
    """Layers whose arrays come channels last, or as tokens behind a class token."""

    def __init__(self, network, tokens):
        super().__init__(**network.ops)
        self.tokens = tokens

    def run(self, *arguments, **options):
        trace = super().run(*arguments, **options)
        turned = {
            name: LayerTrace(
                self.turn(layer.activations),
                tuple(map(self.turn, layer.gradients)),
                None if self.tokens else "last",
            )
            for name, layer in trace.layers.items()
        }
        return replace(trace, layers=turned)

    def turn(self, array):
        last = np.moveaxis(array, 1, -1)
        if not self.tokens:
            return last
        tokens = last.reshape(len(array), -1, array.shape[1])
        return np.concatenate([np.full_like(tokens[:, :1], 99), tokens], axis=1)


@pytest.mark.parametrize("tokens", [False, True])
def test_the_layout_of_a_layer_does_not_matter(network, tokens):
    names = ["gradcam", "layercam", "eigencam"]
    expected = camcore.explain(network, PHOTOS, 1, "relu2", names)
    found = camcore.explain(Channelled(network, tokens), PHOTOS, 1, "relu2", names)
    for name in names:
        np.testing.assert_allclose(
            found[name].raw["relu2"], expected[name].raw["relu2"], atol=1e-12
        )


def test_the_grid_of_tokens_can_be_given(network):
    grid = camcore.Layout("tokens", grid=(2, 8), prefix=1)
    result = camcore.explain(Channelled(network, True), PHOTOS, 1, "relu2", layout=grid)
    expected = camcore.explain(network, PHOTOS, 1, "relu2").raw["relu2"].reshape(3, 2, 8)
    np.testing.assert_allclose(result.raw["relu2"], expected, atol=1e-12)
    nines = camcore.Layout("tokens", grid=(9, 9))
    with pytest.raises(LayerError, match=r"Layer 'relu2': A grid of \(9, 9\) .* 17 tokens"):
        camcore.explain(Channelled(network, True), PHOTOS, layer="relu2", layout=nines)


class Softmax(Op):
    def forward(self, x):
        return softmax(x)

    def pull_back(self, x, cotangent):
        p = softmax(x)
        return p * (cotangent - (cotangent * p).sum(axis=1, keepdims=True))


class Classifier(NumpyAdapter):
    """Ends in a softmax, before which outputs can be taken where `peelable`."""

    def __init__(self, network, peelable=True):
        super().__init__(**network.ops, softmax=Softmax())
        self.peelable = peelable

    def run(self, inputs, layers=(), seeds=(), *, logits=True, **options):
        if not (logits and self.peelable):
            return super().run(inputs, layers, seeds, **options)
        ops = {name: op for name, op in self.ops.items() if name != "softmax"}
        trace = NumpyAdapter(**ops).run(inputs, layers, seeds, **options)
        return replace(trace, activation={"": "softmax"})


def test_the_logit_is_explained_unless_the_output_is_asked_for(network):
    classifier = Classifier(network)
    logit = camcore.explain(classifier, PHOTOS, 1, "relu2")
    bare = camcore.explain(network, PHOTOS, 1, "relu2")
    np.testing.assert_array_equal(logit.raw["relu2"], bare.raw["relu2"])
    assert logit.activation == "softmax"
    output = camcore.explain(classifier, PHOTOS, 1, "relu2", score="output")
    probability = camcore.explain(network, PHOTOS, Probability(1), "relu2")
    np.testing.assert_allclose(output.raw["relu2"], probability.raw["relu2"], rtol=1e-10)
    np.testing.assert_allclose(output.scores, probability.scores, rtol=1e-12)
    for score, named in (("logit", logit), ("output", output)):
        chosen = camcore.explain(Classifier(network), PHOTOS, 1, score=score)
        np.testing.assert_array_equal(chosen.raw["relu2"], named.raw["relu2"])
    np.testing.assert_allclose(logit.probabilities, output.probabilities, rtol=1e-12)


def test_a_logit_that_cannot_be_had_is_an_error_only_where_demanded(network):
    classifier = Classifier(network, peelable=False)
    assert camcore.explain(classifier, PHOTOS, 1, "relu2").scores.max() < 1
    with pytest.raises(TargetError, match=r"score='logit' was asked for, but .* probabilities"):
        camcore.explain(classifier, PHOTOS, 1, "relu2", score="logit")


class Outputs(NumpyAdapter):
    """Returns a nest: by name, the class scores and something else."""

    def __init__(self, network, *names):
        super().__init__(**network.ops)
        self.names = names

    def run(self, inputs, layers=(), seeds=(), **options):
        def in_nest(seed):
            return lambda leaves: {"": seed(self.nest(leaves[""]))[self.names[0]]}

        trace = super().run(inputs, layers, [in_nest(seed) for seed in seeds], **options)
        return replace(trace, outputs=self.nest(trace.outputs[""]))

    def nest(self, outputs):
        return dict.fromkeys(self.names, outputs.mean(axis=1)) | {self.names[0]: outputs}


def test_the_explained_output_can_be_named(network):
    expected = camcore.explain(network, PHOTOS, 1, "relu2").raw["relu2"]
    boxes = Outputs(network, "scores", "boxes")
    result = camcore.explain(boxes, PHOTOS, 1, "relu2", output="scores")
    np.testing.assert_array_equal(result.raw["relu2"], expected)
    logits = Outputs(network, "logits", "loss")
    np.testing.assert_array_equal(
        camcore.explain(logits, PHOTOS, 1, "relu2").raw["relu2"], expected
    )
    with pytest.raises(TargetError, match=r"2 outputs: 'scores' \(3, 5\), 'boxes' \(3,\). Say"):
        camcore.explain(boxes, PHOTOS, 1, "relu2")
    with pytest.raises(TargetError, match=r"no output 'masks'; it has 'scores' \(3, 5\)"):
        camcore.explain(boxes, PHOTOS, 1, "relu2", output="masks")


def test_a_model_that_returns_one_number_for_each_sample_scores_one_class(network):
    class Alone(NumpyAdapter):
        def run(self, inputs, layers=(), seeds=(), **options):
            def in_column(seed):
                return lambda leaves: {"": seed({"": leaves[""][:, 0]})[""][:, None]}

            trace = super().run(inputs, layers, [in_column(seed) for seed in seeds], **options)
            return replace(trace, outputs={"": trace.outputs[""][:, 0]})

    network.ops["fc"] = Dense(network.ops["fc"].weights[:1], network.ops["fc"].bias[:1])
    column = camcore.explain(network, PHOTOS, layer="relu2")
    alone = camcore.explain(Alone(**network.ops), PHOTOS, layer="relu2")
    np.testing.assert_array_equal(alone.raw["relu2"], column.raw["relu2"])
    np.testing.assert_array_equal(alone.scores, column.outputs[:, 0])
    np.testing.assert_array_equal(alone.classes, [0, 0, 0])


def test_cam_is_refused_where_it_is_not_defined(network):
    pooled = random_network(head="gap")
    headless = NumpyAdapter(**{k: op for k, op in pooled.ops.items() if k != "fc"})
    # Other channels than the head has, a ReLU in between, no linear head at all.
    for model, layer in [(network, "relu2"), (pooled, "conv2"), (headless, "relu2")]:
        with pytest.raises(MethodError, match=rf"{layer!r} is not such.*method='gradcam'"):
            camcore.explain(model, PHOTOS, layer=layer, method="cam")
    with pytest.raises(MethodError, match="a native callable does not give"):
        camcore.explain(random_network(), PHOTOS, native, "relu2", ["gradcam", "cam"])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"method": "gradcan"}, MethodError, "no method 'gradcan'. Did you mean 'gradcam'"),
        ({"method": []}, MethodError, "empty list of methods"),
        ({"layer": "relu3x"}, LayerError, "no layer 'relu3x'. Did you mean 'relu3'"),
        ({"layer": "flat"}, LayerError, r"Layer 'flat': .*\(3, 64\) has no spatial extent"),
        ({"recipe": "papers"}, RecipeError, "no recipe 'papers'. Did you mean 'paper'"),
        ({"fusion": "median"}, RecipeError, "fusion='median'; layers are joined by"),
        ({"score": "prob"}, InputError, "score='prob'; expected 'logit' or 'output'"),
        ({"activation": "tanh"}, InputError, "activation='tanh'; expected 'softmax', 'sigmoid' or"),
        ({"activation": "none", "score": "logit"}, InputError, "'none' says that there is none"),
        ({"target": 5}, TargetError, "Class 5 is out of range: the model scores 5 classes"),
        ({"target": "cat"}, TargetError, "classes have no names; give an index, not 'cat'"),
        ({"target": [1, 2]}, TargetError, "names 2 classes for a batch of 3"),
        ({"target": Linear(np.ones(4))}, TargetError, r"\(5,\) or \(3, 5\) is expected"),
        (
            {"layers": "relu2"},
            MethodError,
            "Unknown option 'layers': camcore's word for it is layer=",
        ),
        ({"layr": "relu2"}, MethodError, "Unknown option 'layr': Grad-CAM takes none"),
    ],
)
def test_explain_refuses_wrong_arguments_by_name(network, arguments, error, message):
    with pytest.raises(error, match=message):
        camcore.explain(network, PHOTOS, **{"layer": "relu2", **arguments})


def test_explain_refuses_what_is_no_model(network):
    with pytest.raises(BackendError, match=r"No adapter owns a builtins.str"):
        camcore.explain("resnet50", PHOTOS)


def test_values_that_are_not_finite_are_located(network):
    spoilt = PHOTOS.copy()
    spoilt[1, 0, 3, 3] = np.nan
    with pytest.raises(InputError, match=r"input has 1 values that are NaN .* in sample 1. Clean"):
        camcore.explain(network, spoilt, layer="relu2")
    network.ops["fc"].bias[0] = np.inf
    with pytest.raises(InputError, match=r"output has 3 values that are NaN .*look at the model's"):
        camcore.explain(network, PHOTOS, 1, layer="relu2")


def test_a_map_that_overflows_is_refused(network):
    with (
        np.errstate(over="ignore", invalid="ignore"),
        pytest.raises(InputError, match=r"HiResCAM at 'relu2' overflows float64.*wider dtype"),
    ):
        camcore.explain(network, PHOTOS, 1e308 * Class(1) * 1e10, "relu2", "hirescam")


def test_an_explainer_of_every_recipe_and_method_is_pickled(network):
    expected = camcore.explain(network, PHOTOS, layer="relu2")
    again = pickle.loads(pickle.dumps(camcore.Explainer(network, layer="relu2")))(PHOTOS)
    np.testing.assert_array_equal(again.maps, expected.maps)
    for recipe in TABLE:
        for method in methods.TABLE:
            made = camcore.Explainer(network, recipe=recipe, method=method)
            again = pickle.loads(pickle.dumps(made))
            assert again.recipe == made.recipe
            assert again.methods == made.methods


@pytest.mark.parametrize(
    ("shape", "axis", "expected"),
    [
        ((2, 5), 1, True),
        ((2, 3, 4, 5), 1, True),  # a class for each place, channels first
        ((2, 4, 5, 3), 3, True),  # and last
        ((2, 4, 5, 3), 2, False),  # a distribution over columns
        ((2, 4, 5, 3), 0, False),
    ],
)
def test_what_looks_like_probabilities_sums_to_one_over_classes(shape, axis, expected):
    values = np.random.default_rng(0).uniform(0.1, 1, shape)
    assert look_like_probabilities(values / values.sum(axis=axis, keepdims=True)) == expected
    assert not look_like_probabilities(values - 0.5)


def test_a_map_wholly_against_warns_once_and_says_where_to_look():
    model = random_network()
    explainer = camcore.Explainer(model, layer="relu2")
    with pytest.warns(PoorMapWarning, match=r"speaks for.*negative.*explanation\.raw") as heard:
        result, _ = camcore.explain(model, PHOTOS, 3, "relu2"), explainer(PHOTOS, 3)
    assert len(heard) == 1
    assert result.raw["relu2"].max() <= 0 > result.raw["relu2"].min()
    assert result.empty.all()


@pytest.mark.parametrize("score", ["logit", "output"])
def test_where_no_layer_has_a_gradient_the_best_is_explained_and_shown_as_zeros(score):
    ops = random_network().ops
    bias = ops["fc"].bias
    ops["fc"] = Dense(np.zeros_like(ops["fc"].weights), bias)
    with pytest.warns(PoorMapWarning, match="'relu2'"):
        result = camcore.explain(Classifier(NumpyAdapter(**ops)), PHOTOS, 1, score=score)
    np.testing.assert_array_equal(result.raw["relu2"], np.zeros((3, 4, 4)))
    expected = bias if score == "logit" else np.exp(bias) / np.exp(bias).sum()
    np.testing.assert_allclose(result.scores, expected[[1, 1, 1]], rtol=1e-12)
    assert result.empty.all()


class Apart(NumpyAdapter):
    """No score depends on any layer, as adapters say where they are asked for gradients."""

    def run(self, inputs, layers=(), seeds=(), **options):
        if layers and seeds:
            raise GradientError(f"The score does not depend on {layers[0]!r}.")
        return super().run(inputs, layers, seeds, **options)


def test_where_no_score_depends_on_any_layer_the_error_names_the_best():
    with pytest.raises(GradientError, match="'relu2'"):
        camcore.explain(Apart(**random_network().ops), PHOTOS, 1)


def test_a_map_of_nothing_warns(network):
    with pytest.warns(PoorMapWarning, match="speaks for or against.*Explain another layer"):
        result = camcore.explain(network, np.zeros_like(PHOTOS), None, "@input", "activations")
    assert not result.raw["@input"].any()


def scaled(picture):
    """The middle of a photograph as the network takes it."""
    return np.moveaxis(np.asarray(picture)[:8, :8, :2] / 255.0, -1, 0)


def test_an_explainer_of_a_loaded_model_is_pickled_with_how_photographs_are_shown(require):
    require("PIL.Image")
    photo = np.random.default_rng(4).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    loaded = LoadedModel(random_network(), shown, 8, 8, classes=tuple("abcde"), activation="none")
    for explainer, other in (
        (camcore.Explainer(loaded, layer="relu2"), camcore.Explainer(loaded, layer="relu2")),
        (
            camcore.Explainer(random_network(), layer="relu2", preprocess=scaled),
            camcore.Explainer(random_network(), layer="relu2", preprocess=scaled),
        ),
    ):
        first = explainer(photo)
        again = pickle.loads(pickle.dumps(explainer))(photo)
        np.testing.assert_array_equal(again.maps, other(photo).maps)
        np.testing.assert_array_equal(again.maps, first.maps)
        assert (again.names, again.preprocessing) == (first.names, first.preprocessing)


def shown(view):
    return np.moveaxis(view[None, ..., :2] / 255.0, -1, 1)


def test_an_array_of_photographs_is_taken_for_some_where_their_preparation_is_said(require):
    require("PIL.Image")
    photos = np.random.default_rng(4).integers(0, 256, (2, 8, 12, 3), dtype=np.uint8)
    network = random_network()
    found = camcore.explain(network, photos, 0, "relu2", preprocess=scaled)
    listed = camcore.explain(network, list(photos), 0, "relu2", preprocess=scaled)
    np.testing.assert_array_equal(found.maps, listed.maps)
    assert len(found.photographs) == 2


def test_grey_photographs_are_explained_as_their_rgb(require):
    require("PIL.Image")
    greys = np.random.default_rng(4).integers(0, 256, (2, 8, 12), dtype=np.uint8)
    rgb = np.repeat(greys[..., None], 3, -1)
    network = random_network()
    expected = camcore.explain(network, list(rgb), 0, "relu2", preprocess=scaled)
    for given in (greys, list(greys), [greys[0], rgb[1]]):
        found = camcore.explain(network, given, 0, "relu2", preprocess=scaled)
        np.testing.assert_array_equal(found.maps, expected.maps)
        np.testing.assert_array_equal(found.photographs[1].photo, rgb[1])
    one = camcore.explain(network, greys[0], 0, "relu2", preprocess=scaled)
    np.testing.assert_array_equal(one.maps, expected.maps[:1])
    # The photographs' own size, and the model's view, grey as they were.
    np.testing.assert_array_equal(expected.overlay(greys), expected.overlay(rgb))
    np.testing.assert_array_equal(
        expected.overlay(greys)[:, :, :8], np.stack(expected.overlay())[:, :, :8]
    )
    seen = greys[:, :, :8]
    np.testing.assert_array_equal(
        expected.overlay(seen), overlay(rgb[:, :, :8], expected.maps, style=expected.overlay_style)
    )


def test_a_flat_array_is_the_models_input_where_its_layout_says_so():
    seen = []

    def kept(picture):
        seen.append(picture)
        return scaled(picture)

    flat = np.zeros((3, 40), np.uint8)
    explainer = camcore.Explainer(
        random_network(), layer="relu2", input_layout="BT", preprocess=kept
    )
    with pytest.raises(InputError, match=r"shape \(3, 40\) and uint8.*taken as that already"):
        explainer(flat)
    assert not seen


JOINED = {
    ("paper", "saliency"): np.max,
    ("paper", "gradienttimesinput"): np.sum,
    ("paper", "smoothgrad"): np.max,
    ("paper", "smoothgradsq"): np.max,
    ("paper", "vargrad"): np.max,
    ("paper", "integratedgradients"): np.sum,
    ("paper", "idgi"): np.sum,
    ("paper", "gradientshap"): np.sum,
    ("paper", "guidedig"): np.sum,
    ("paper", "blurig"): np.sum,
    ("paper", "guidedbackprop"): np.max,
    ("paper", "deconvnet"): np.max,
    ("captum", "saliency"): np.sum,
    ("captum", "guidedbackprop"): np.sum,
    ("captum", "deconvnet"): np.sum,
    ("captum", "smoothgradsq"): np.sum,
    ("tf-explain", "gradienttimesinput"): np.sum,
    ("monai", "smoothgrad"): np.max,
    ("xplique", "integratedgradients"): np.mean,
    ("xplique", "vargrad"): np.mean,
}


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(("recipe", "method"), list(JOINED))
def test_what_input_attributions_join_is_kept_by_channel(recipe, method, rank):
    images = np.random.default_rng(1).normal(size=(2, 2, *[8] * rank))
    result = camcore.explain(random_network(rank), images, 1, method=method, recipe=recipe)
    (raw,) = result.raw.values()
    assert result.by_channel.shape == images.shape
    assert result.by_channel.dtype == raw.dtype
    joined = JOINED[recipe, method](result.by_channel, axis=1)
    np.testing.assert_allclose(joined, raw, rtol=1e-12, atol=1e-14)
    # The channels differ, so that they are not the map repeated.
    assert np.abs(np.diff(result.by_channel, axis=1)).max() > 1e-2 * np.abs(raw).max()


def test_gradient_times_input_by_channel_is_computed_by_hand(network):
    result = camcore.explain(network, PHOTOS, 2, method="gradienttimesinput")
    gradients = at(network, "@input", Class(2))[1]
    np.testing.assert_array_equal(result.by_channel, PHOTOS * gradients)
    np.testing.assert_array_equal(result[1:].by_channel, result.by_channel[1:])


@pytest.mark.parametrize("method", ["gradcam", "guidedgradcam", "fullgrad", "occlusion"])
def test_what_is_not_joined_from_the_inputs_channels_has_none(network, method):
    assert camcore.explain(network, PHOTOS, 2, "relu2", method).by_channel is None


@pytest.mark.parametrize("augmentation", [camcore.augment.Flip(), camcore.augment.Zoom(2)])
def test_channels_are_averaged_over_views_as_maps_are(augmentation):
    network = random_network()
    result = camcore.explain(
        network, PHOTOS, 2, method="gradienttimesinput", augment=[augmentation]
    )
    (raw,) = result.raw.values()
    np.testing.assert_allclose(result.by_channel.sum(axis=1), raw, rtol=1e-12, atol=1e-14)
    view = augmentation.view(PHOTOS)
    own = camcore.explain(network, view, 2, method="gradienttimesinput").by_channel
    back = np.stack([augmentation.undo(own[:, c], (8, 8)) for c in range(2)], axis=1)
    plain = camcore.explain(network, PHOTOS, 2, method="gradienttimesinput").by_channel
    np.testing.assert_allclose(result.by_channel, (plain + back) / 2, rtol=1e-12, atol=1e-14)


def test_a_method_of_ones_own_that_alters_the_joined_map_keeps_no_channels(network):
    row = camcore.methods.find("saliency")
    halved = replace(row, function=lambda image_gradients: methods.saliency(image_gradients) / 2)
    result = camcore.explain(network, PHOTOS, 2, method=halved)
    whole = camcore.explain(network, PHOTOS, 2, method="saliency")
    np.testing.assert_array_equal(result.raw["@input"], whole.raw["@input"] / 2)
    assert result.by_channel is None


def test_a_recipes_exception_for_a_method_is_how_its_map_is_shown():
    network = random_network()
    images = np.random.default_rng(0).normal(size=(2, 2, 8, 8))
    mine = PAPER.derive("mine", exceptions={"layercam": Rendering((Tanh(1.0), Resize(LINEAR)))})
    found = camcore.explain(network, images, 1, "relu2", ["gradcam", "layercam"], mine)
    for name in ("gradcam", "layercam"):
        plain = camcore.explain(network, images, 1, "relu2", name)
        assert np.array_equal(found[name].maps, plain.maps) == (name == "gradcam")
    expected = resize(np.tanh(found["layercam"].raw["relu2"]), (8, 8))
    np.testing.assert_allclose(found["layercam"].maps, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("method", "expected"),
    [("eigencam", 0), ("activations", 0), ("gradcam", 3), ("smoothgradcampp", 12)],
)
def test_views_are_pulled_back_where_the_method_reads_gradients(method, expected):
    class Counting(NumpyAdapter):
        seeds = 0

        def run(self, inputs, layers=(), seeds=(), **options):
            self.seeds += len(seeds)
            return super().run(inputs, layers, seeds, **options)

    views = [camcore.augment.Flip(), camcore.augment.Zoom(2)]
    model = Counting(**random_network().ops)
    camcore.explain(model, PHOTOS, 2, "relu2", method, augment=views)
    # Of four noisy inputs for each view the gradients are read, and not those of the view.
    assert model.seeds == expected
