"""TensorFlow SavedModels, explained by the operations of their graphs, against Keras models."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import camcore
from camcore import registry, zoo
from camcore.errors import BackendError, InputError, LayerError, MethodError
from camcore.testing import check_adapter

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(3, 32, 32, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def model(keras):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    x = inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(4, 3, strides=2, activation="relu", name="first")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="second")(layers.Conv2D(6, 3, name="conv")(x))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(5, activation="softmax", name="scores")(x))


@pytest.fixture(scope="module", params=["export", "save"])
def folder(request, tf, model, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param) / "model"
    if request.param == "export":
        model.export(str(path), verbose=False)
    else:
        tf.saved_model.save(model, str(path))
    return path


@pytest.fixture(scope="module")
def saved(tf, folder):
    return tf.saved_model.load(str(folder))


def named(saved, scope):
    """The name of a layer's scope, which Keras may have numbered."""
    names = [layer.name for layer in registry.adapter(saved).layers()]
    return next(name for name in names if name in (scope, f"{scope}_1"))


METHODS = ("gradcam", "layercam", "eigencam", "shapleycam", "guidedgradcam", "ablationcam")
METHODS += ("scorecam", "integratedgradients", "smoothgradcampp", "occlusion")


@pytest.mark.parametrize("method", METHODS)
def test_maps_are_those_of_the_model_that_was_saved(saved, model, method):
    for scope in ("first", "second"):
        found = camcore.explain(saved, IMAGES, [0, 3, 1], named(saved, scope), method)
        expected = camcore.explain(model, IMAGES, [0, 3, 1], scope, method)
        (raw,), (by_keras,) = found.raw.values(), expected.raw.values()
        np.testing.assert_allclose(raw, by_keras, rtol=0, atol=2e-6 * np.abs(by_keras).max())
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)


def test_layers_are_operations_and_the_scopes_that_end_with_them(saved):
    names = [layer.name.replace("_1", "") for layer in registry.adapter(saved).layers()]
    start = ["first/convolution", "first/BiasAdd", "first/Relu", "first"]
    assert names[:4] == start
    assert names[-2:] == ["scores/Softmax", "scores"]
    assert len(set(names)) == len(names)


def test_the_layer_is_chosen_as_in_the_model_that_was_saved(saved, model):
    (chosen,), (by_keras,) = (camcore.explain(m, IMAGES, 1).raw for m in (saved, model))
    assert chosen.removesuffix("_1") == by_keras == "second"


def test_the_folder_and_a_function_of_it_are_explained_alike(saved, folder):
    layer = named(saved, "second")
    expected = camcore.explain(saved, IMAGES, 1, layer).maps
    for given in (folder, str(folder), saved.signatures["serving_default"]):
        np.testing.assert_array_equal(camcore.explain(given, IMAGES, 1, layer).maps, expected)
    loaded = zoo.load_model(str(folder))
    assert (loaded.size, loaded.resize) == (32, 37)
    photo = RNG.integers(0, 256, (32, 32, 3), np.uint8)
    np.testing.assert_array_equal(loaded.preprocess(photo)[0], photo / np.float32(255))


def test_a_saved_model_keeps_the_promises_of_an_adapter(saved):
    offered = check_adapter(registry.adapter(saved), IMAGES, named(saved, "second"), tolerance=1e-5)
    left_out = {what for what, is_offered in offered.items() if not is_offered}
    assert left_out == {"classifier", "biases"}


def test_variables_are_drawn_as_those_of_the_model_that_was_saved(saved, model):
    copies, by_keras = (camcore.metrics.randomiser(m) for m in (saved, model))
    assert [name.removesuffix("_1") for name in copies.layers] == [*by_keras.layers]
    before = camcore.explain(saved, IMAGES, [0, 3, 1], named(saved, "second"))
    own = registry.adapter(saved).parameters()
    for taken in (1, 3, None):
        drawn, expected = (c(c.layers[:taken], seed=4) for c in (copies, by_keras))
        found = camcore.explain(drawn, IMAGES, [0, 3, 1], named(drawn, "second"))
        wanted = camcore.explain(expected, IMAGES, [0, 3, 1], "second")
        np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-5)
        np.testing.assert_allclose(found.maps, wanted.maps, rtol=0, atol=1e-5)
        assert np.abs(found.scores - before.scores).max() > 0.01
    after = camcore.explain(saved, IMAGES, [0, 3, 1], named(saved, "second"))
    np.testing.assert_array_equal(after.maps, before.maps)
    for name, arrays in registry.adapter(saved).parameters().items():
        for array, held in zip(arrays, own[name], strict=True):
            np.testing.assert_array_equal(array, held)
    copy = copies([])
    plain = registry.adapter(copy).run(IMAGES).outputs[""]
    np.testing.assert_array_equal(plain, registry.adapter(saved).run(IMAGES).outputs[""])
    assert all(
        new is not old
        for new in copy.variables
        for old in saved.signatures["serving_default"].graph.variables
    )


def test_variables_without_layers_and_several_outputs_are_copied_too(tf, tmp_path):
    class Own(tf.Module):
        def __init__(self):
            super().__init__()
            self.kernel = tf.Variable(RNG.normal(size=(3, 3, 3, 4)).astype(np.float32))
            self.head = tf.Variable(RNG.normal(size=(4, 5)).astype(np.float32), name="head")
            self.steps = tf.Variable(3, name="steps")

        @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 3), tf.float32, name="x")])
        def serve(self, x):
            maps = tf.nn.relu(tf.nn.conv2d(x, self.kernel, 1, "SAME"))
            pooled = tf.reduce_mean(maps, (1, 2)) * tf.cast(self.steps, tf.float32)
            return {"scores": pooled @ self.head, "pooled": pooled}

    own = Own()
    tf.saved_model.save(own, str(tmp_path / "model"), signatures={"serving_default": own.serve})
    saved = tf.saved_model.load(str(tmp_path / "model"))
    copies, images = camcore.metrics.randomiser(saved), IMAGES[:, :8, :8]
    own = registry.adapter(saved).parameters().values()
    assert sorted(array.shape for arrays in own for array in arrays) == [(4, 3, 3, 3), (5, 4)]
    found = registry.adapter(copies(copies.layers, seed=2)).run(images).outputs
    expected = registry.adapter(saved).run(images).outputs
    assert found.keys() == expected.keys() == {"scores", "pooled"}
    for drawn, plain in zip(found.values(), expected.values(), strict=True):
        assert np.abs(drawn - plain).max() > 0.1
    with pytest.raises(InputError, match="has parameters of shapes none"):
        registry.adapter(saved).with_parameters({"other": [np.zeros(3)]})


def test_what_a_graph_does_not_tell_is_refused(saved):
    for method, what in (("cam", "classifier"), ("fullgrad", "biases")):
        with pytest.raises(MethodError, match=f"SavedAdapter offers no {what}"):
            camcore.explain(saved, IMAGES, 1, named(saved, "second"), method)
    with pytest.raises(BackendError, match="runs as it was saved"):
        camcore.explain(saved, IMAGES, 1, mode="train")
    with pytest.raises(LayerError, match="is an operation, which has no part 'activated'"):
        camcore.explain(saved, IMAGES, 1, named(saved, "second") + "@activated")
    with pytest.raises(InputError, match=r"takes 1 arrays .*got 2"):
        camcore.explain(saved, (IMAGES, IMAGES), 1, named(saved, "second"))


def test_several_inputs_and_outputs_go_by_their_names(keras, tf, tmp_path):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    image, table = keras.Input((24, 24, 3), name="image"), keras.Input((4,), name="table")
    x = layers.Conv2D(5, 3, activation="tanh", name="conv")(image)
    pooled = layers.GlobalAveragePooling2D()(x)
    together = layers.Concatenate()([pooled, layers.Dense(3)(table)])
    outputs = {"kind": layers.Dense(4)(together), "age": layers.Dense(1)(together)}
    model = keras.Model({"image": image, "table": table}, outputs)
    inputs = {
        "image": RNG.normal(size=(2, 24, 24, 3)).astype(np.float32),
        "table": RNG.normal(size=(2, 4)).astype(np.float32),
    }
    model.export(str(tmp_path / "model"), verbose=False)
    saved = tf.saved_model.load(str(tmp_path / "model"))
    for output, target in (("kind", 2), ("age", None)):
        for method in ("gradcam", "occlusion", "ablationcam"):
            how = {"output": output, "method": method}
            found = camcore.explain(saved, inputs, target, named(saved, "conv"), **how)
            expected = camcore.explain(model, inputs, target, "conv", **how)
            np.testing.assert_allclose(found.maps, expected.maps, rtol=0, atol=1e-5)


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("rank", [2, 3])
def test_convolutions_whose_scores_are_joined_are_the_output(keras, tf, tmp_path, rank, biased):
    layers = keras.layers
    conv = partial(getattr(layers, f"Conv{rank}D"), use_bias=biased)
    inputs = keras.Input((*[12] * rank, 3))
    body = conv(4, 3, activation="relu", name="body")(inputs)
    scales = [conv(5, 3, strides=n, name=name)(body) for n, name in ((1, "near"), (2, "far"))]
    joined = layers.Concatenate(axis=1)([layers.Reshape((-1, 5))(scale) for scale in scales])
    keras.Model(inputs, joined).export(str(tmp_path / "model"), verbose=False)
    saved = tf.saved_model.load(str(tmp_path / "model"))
    records = registry.adapter(saved).survey(np.zeros((1, *[12] * rank, 3), np.float32))
    shown = {record.layer.name: record.is_output for record in records}
    names = {name: named(saved, name) for name in ("body", "near", "far")}
    assert {name: shown[names[name]] for name in names} == {
        "body": False,
        "near": True,
        "far": True,
    }


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize(("kind", "is_output"), [("Dense", True), ("Conv2D", False)])
def test_scores_of_each_place_whose_mean_is_given_are_the_output(
    keras, tf, tmp_path, kind, is_output, biased
):
    layers = keras.layers
    how = {"kernel_size": 3} if kind == "Conv2D" else {}
    x = inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(4, 3, activation="relu", name="body")(x)
    x = getattr(layers, kind)(5, use_bias=biased, name="scores", **how)(x)
    x = layers.Softmax()(layers.GlobalAveragePooling2D()(x))
    keras.Model(inputs, x).export(str(tmp_path / "model"), verbose=False)
    saved = tf.saved_model.load(str(tmp_path / "model"))
    records = registry.adapter(saved).survey(np.zeros((1, 12, 12, 3), np.float32))
    shown = {record.layer.name: record.is_output for record in records}
    assert [shown[named(saved, name)] for name in ("body", "scores")] == [False, is_output]


@pytest.mark.parametrize(("bias", "is_output"), [((5,), True), ((8, 8, 5), False)])
def test_a_convolution_and_a_bias_of_channels_of_ones_own_are_scores(tf, tmp_path, bias, is_output):
    class Own(tf.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = tf.ones((3, 3, 3, 4)), tf.ones((1, 1, 4, 5))
            self.bias = tf.ones(bias)

        @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 3))])
        def __call__(self, x):
            x = tf.nn.relu(tf.nn.conv2d(x, self.body, 1, "SAME", name="body"))
            near, far = (
                tf.add(tf.nn.conv2d(x, self.head, 1, "SAME"), self.bias, name=name)
                for name in ("near", "far")
            )
            return tf.concat([near, far], 1, name="joined")

    model = Own()
    tf.saved_model.save(model, str(tmp_path / "model"), signatures=model.__call__)
    saved = tf.saved_model.load(str(tmp_path / "model"))
    records = registry.adapter(saved).survey(np.zeros((1, 8, 8, 3), np.float32))
    shown = {record.layer.name: record.is_output for record in records}
    assert [shown[name] for name in ("body", "near", "far")] == [False, is_output, is_output]


def test_a_model_without_a_signature_and_a_damaged_one_are_refused(tf, folder, tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "bare"))
    with pytest.raises(InputError, match="has no signature"):
        zoo.load_model(str(tmp_path / "bare"))
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "saved_model.pb").write_bytes(b"junk")
    with pytest.raises(InputError, match=r"cannot be read.*Expected a SavedModel"):
        camcore.explain(tmp_path / "damaged", IMAGES)
    with pytest.raises(InputError, match="holds its own weights"):
        zoo.load_model(str(folder), "weights.h5")
