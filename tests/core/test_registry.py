"""Adapters are found through entry points, and only once their framework is imported."""

from __future__ import annotations

import re
import sys
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

import camcore
from camcore import registry, zoo
from camcore.errors import BackendError, InputError, MissingExtraError
from camcore.testing import NumpyAdapter, random_network
from camcore.zoo import LoadedModel

PHOTOS = np.random.default_rng(0).normal(size=(2, 2, 8, 8))


class Model:
    """A model of the stranger's framework."""

    def __init__(self):
        self.network = random_network()


class StrangersBackend:
    """What a stranger's package registers."""

    name = "Strange"
    schemes = ("strange-zoo",)

    def __init__(self):
        self.loads = []

    def owns(self, model):
        return isinstance(model, Model)

    def adapt(self, model):
        return model.network

    def load(self, scheme, name, weights=None):
        self.loads.append((scheme, name, weights))
        return LoadedModel(Model(), lambda photo: photo, 8, 8)

    def synchronize(self):
        pass


@pytest.fixture
def register(monkeypatch):
    """Register entry points in place of the installed ones, by framework and value."""

    def register(**points):
        found = {name: EntryPoint(name, value, registry.GROUP) for name, value in points.items()}
        monkeypatch.setattr(registry, "_entry_points", lambda: found)

    registry._load.cache_clear()
    yield register
    registry._load.cache_clear()


@pytest.fixture
def provide(monkeypatch):
    """Put a module with these attributes where imports find it."""

    def provide(name, **attributes):
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        for key, value in attributes.items():
            setattr(module, key, value)
        monkeypatch.setitem(sys.modules, name, module)

    return provide


@pytest.fixture
def strange(register, provide):
    """A stranger's framework, imported, with its adapter registered."""
    backend = StrangersBackend()
    provide("strangeframework")
    provide("camcore_strange", backend=backend)
    register(strangeframework="camcore_strange:backend")
    return backend


def test_a_strangers_model_is_explained_like_any_other(strange):
    model = Model()
    found = camcore.explain(model, PHOTOS, target=1, layer="relu2")
    expected = camcore.explain(model.network, PHOTOS, target=1, layer="relu2")
    np.testing.assert_array_equal(found.maps, expected.maps)


class StrangersFiles(StrangersBackend):
    """A backend that owns files too."""

    suffixes: ClassVar = {".strange": "strange-file"}


@pytest.mark.parametrize("kind", [str, Path])
def test_a_strangers_file_is_explained_like_its_model(register, provide, tmp_path, kind):
    backend = StrangersFiles()
    provide("strangeframework")
    provide("camcore_strange", backend=backend)
    register(strangeframework="camcore_strange:backend")
    path = kind(tmp_path / "Model.STRANGE")
    found = camcore.explain(path, PHOTOS, target=1, layer="relu2")
    expected = camcore.explain(Model().network, PHOTOS, target=1, layer="relu2")
    np.testing.assert_array_equal(found.maps, expected.maps)
    assert isinstance(zoo.load_model(str(path), "weights").model, Model)
    assert backend.loads == [
        ("strange-file", str(path), None),
        ("strange-file", str(path), "weights"),
    ]


def test_a_file_of_no_known_kind_is_refused(strange, tmp_path):
    other = "a path of no kind of file that holds a whole model"
    named = {
        "model.strange": other,
        "model": other,
        "model.pth": "make the model, and load them into it with load_state_dict",
        "model.PT": "load it with torch.load, and give the module",
        "model.tflite": r"turn it into ONNX with python -m tf2onnx\.convert --tflite",
        "model.xml": "the ONNX file or the model that it was converted from",
    }
    for name, message in named.items():
        with pytest.raises(BackendError, match=message):
            registry.adapter(tmp_path / name)
        with pytest.raises(InputError, match="names no model"):
            zoo.load_model(str(tmp_path / name))
    assert strange.loads == []


def test_what_is_known_of_files_without_a_framework_is_what_its_backend_says(torch, keras):
    for framework in ("torch", "tensorflow"):
        said = {s: scheme for s, (owner, scheme) in registry._FILES.items() if owner == framework}
        assert said == registry.backend(framework).suffixes


def test_the_framework_that_a_model_imports_is_known_before_it_is_loaded(tmp_path):
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"")
    named = {
        "timm:resnet18": "torch",
        "model.pt2": "torch",
        "keras:ResNet50": "tensorflow",
        "keras-file:model.keras": "tensorflow",
        "model.HDF5": "tensorflow",
        f"saved-model:{tmp_path / 'saved'}": "tensorflow",
        str(tmp_path / "saved"): "tensorflow",
        "model.onnx": "onnx",
        "demo-jax:efficientnet_lite0": "jax",
        "camcore.testing:random_network": None,
    }
    assert {spec: zoo.framework_of(spec) for spec in named} == named


def test_an_adapter_is_its_own():
    network = random_network()
    assert registry.adapter(network) is network


def test_without_its_framework_an_adapter_is_not_loaded(register):
    # Loading it would fail, as there is no such module.
    register(strangeframework="camcore_strange_not_there:backend")
    with pytest.raises(BackendError, match="Adapters are loaded for: nothing"):
        registry.adapter(Model())


def test_an_unknown_model_is_told_what_is_there(strange):
    with pytest.raises(BackendError) as caught:
        registry.adapter({})
    assert str(caught.value) == (
        "No adapter owns a builtins.dict. Adapters are loaded for: strangeframework. Give a "
        "torch.nn.Module, a Keras model or one on JAX; for another framework install an adapter "
        "that registers under the entry-point group 'camcore.backends'."
    )


@pytest.mark.parametrize(
    ("module", "name", "advice"),
    [
        ("jaxlib", "PjitFunction", "the function that was compiled as camcore_jax.Function"),
        ("haiku._src", "Transformed", "Give camcore_jax.Haiku(transformed, parameters)."),
        ("haiku._src", "TransformedWithState", "Haiku(transformed, parameters, state)."),
        ("torch", "ScriptFunction", "Give the nn.Module that was traced."),
        ("torch.export", "AOTICompiledModel", "Give the exported program"),
        ("ai_edge_litert", "Interpreter", "keeps no gradients: give the Keras model"),
        ("openvino._ov_api", "Model", "Give the ONNX file"),
        ("openvino._ov_api", "CompiledModel", "Give the ONNX file"),
        ("tensorflow.python", "_UserObject", "It has no signature"),
        ("tensorflow.python", "AutoTrackable", "It has no signature"),
        ("tensorflow.python", "Function", "function.get_concrete_function(...)."),
        ("camcore.explainer", "Explainer", "It holds its model: call it, explainer(images)."),
        ("camcore.explanation", "Explanation", "It is a result: explain the model again."),
        ("builtins", "NoneType", "What was to make the model returned nothing."),
        ("builtins", "list", "Explain one model after the other."),
        ("builtins", "tuple", "Give the model alone."),
        ("builtins", "dict", "It holds weights"),
        ("builtins", "function", "Give the model that the function calls."),
        ("builtins", "method", "Give the model that the method belongs to."),
        ("functools", "partial", "Give the model that the function calls."),
    ],
)
def test_what_holds_no_layers_is_told_what_to_give_in_its_place(strange, module, name, advice):
    model = type(name, (), {"__module__": module})()
    with pytest.raises(BackendError, match=re.escape(advice)):
        registry.adapter(model)


@pytest.mark.parametrize(
    ("root", "extra"),
    [("torch", "torch"), ("keras", "tensorflow"), ("tensorflow", "tensorflow"), ("flax", "jax")],
)
def test_a_known_frameworks_model_names_the_extra(register, monkeypatch, root, extra):
    register()
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    model = type("Net", (), {"__module__": f"{root}.nn"})()
    with pytest.raises(BackendError, match=rf"a {root}\.nn\.Net, .* install 'camcore\[{extra}\]'"):
        registry.adapter(model)


@pytest.mark.parametrize("backend", ["torch", "tensorflow", "jax"])
def test_the_extra_of_a_keras_model_is_that_of_its_backend(register, provide, backend):
    register()
    provide("keras", backend=SimpleNamespace(backend=lambda: backend))
    model = type("Net", (), {"__module__": "keras.src"})()
    with pytest.raises(BackendError, match=rf"for {backend} is .* install 'camcore\[{backend}\]'"):
        registry.adapter(model)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({}, "adapter for 'strangeframework' cannot be loaded: .*backend"),
        ({"backend": object()}, "'strangeframework' of camcore.backends is a object, which lacks"),
    ],
)
def test_a_broken_adapter_is_named(register, provide, attributes, message):
    provide("strangeframework")
    provide("camcore_strange", **attributes)
    register(strangeframework="camcore_strange:backend")
    with pytest.raises(BackendError, match=message):
        registry.adapter(Model())


def test_an_adapter_that_cannot_be_imported_is_named(register, provide):
    provide("strangeframework")
    register(strangeframework="camcore_strange_not_there:backend")
    with pytest.raises(BackendError, match="cannot be loaded: No module named 'camcore_strange_"):
        registry.adapter(Model())


def test_backends_are_found_by_framework(strange):
    assert registry.backend("strangeframework") is strange
    assert registry.frameworks() == {"strangeframework": True}
    with pytest.raises(BackendError, match="for 'jax'; there are strangeframework"):
        registry.backend("jax")


@pytest.mark.parametrize(
    ("framework", "package"),
    [("torch", r"'camcore\[torch\]'"), ("notinstalledframework", "notinstalledframework")],
)
def test_a_missing_framework_names_what_to_install(register, monkeypatch, framework, package):
    register(**{framework: "nothing:backend"})
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    assert registry.frameworks() == {framework: False}
    with pytest.raises(MissingExtraError, match=rf"{framework} is not .* pip install {package}$"):
        registry.backend(framework)


def test_our_own_adapters_are_registered():
    assert {"torch", "tensorflow"} <= set(registry.frameworks())


def test_models_are_loaded_by_a_strangers_scheme(strange):
    loaded = zoo.load_model("strange-zoo:tiny", weights="tiny.npz")
    assert isinstance(loaded.model, Model)
    assert strange.loads == [("strange-zoo", "tiny", "tiny.npz")]


def test_a_function_makes_a_model(provide):
    network = random_network()
    own = LoadedModel(network, lambda photo: photo, 32, 40)
    provide("strange_models", plain=lambda: network, loaded=lambda: own)
    assert zoo.load_model("strange_models:loaded") is own
    plain = zoo.load_model("strange_models:plain")
    assert plain.model is network
    assert (plain.size, plain.resize) == (224, 256)
    photo = np.arange(2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 3) * 20
    batch = plain.preprocess(photo)
    assert batch.dtype == np.float32
    np.testing.assert_allclose(batch, np.moveaxis(photo, -1, 0)[None] / 255, rtol=1e-6)


def test_a_channels_last_model_takes_the_photograph_as_it_is(provide):
    class Last(NumpyAdapter):
        input_channels = "last"

    provide("strange_models", last=lambda: Last(**random_network().ops))
    photo = np.full((2, 2, 3), 51, np.uint8)
    batch = zoo.load_model("strange_models:last").preprocess(photo)
    np.testing.assert_allclose(batch, np.full((1, 2, 2, 3), 0.2), rtol=1e-6)


def test_errors_of_the_users_own_function_are_the_users(provide):
    def broken():
        raise AttributeError("a slip of mine")

    provide("strange_models", broken=broken)
    with pytest.raises(AttributeError, match="a slip of mine"):
        zoo.load_model("strange_models:broken")


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("resnet50", {}, "'resnet50' names no model. Expected scheme:name as in torchvision:resn"),
        ("torchvision:", {}, "names no model"),
        (":resnet50", {}, "names no model"),
        ("", {}, "'' names no model"),
        ("nowhere:resnet50", {}, "unknown scheme 'nowhere'; there are torchvision, .*strange-zoo"),
        ("not.there:model", {}, "not.there:model cannot be found: No module named 'not'"),
        (".relative:model", {}, r"\.relative:model cannot be found"),
        ("camcore.registry:nothing", {}, "cannot be found: .* no attribute 'nothing'"),
        ("camcore.registry:GROUP", {}, "camcore.registry:GROUP is a str, not a function"),
        (
            "camcore.testing:random_network",
            {"weights": "w.npz"},
            "is a function, which loads its own weights; got weights='w.npz'",
        ),
    ],
)
def test_load_model_refuses_what_names_no_model(strange, spec, options, message):
    with pytest.raises(InputError, match=message):
        zoo.load_model(spec, **options)


def test_a_known_scheme_needs_its_framework(register):
    register()
    with pytest.raises(BackendError, match="No adapter is registered for 'torch'"):
        zoo.load_model("torchvision:resnet50")
    with pytest.raises(BackendError, match="No adapter is registered for 'tensorflow'"):
        zoo.load_model("model.keras")


def test_imagenets_classes_have_their_names(require):
    require("torchvision")
    names = zoo.imagenet_classes()
    assert (len(names), names[0], names[282], names[967], names[999]) == (
        *(1000, "tench", "tiger cat", "espresso", "toilet tissue"),
    )


@pytest.mark.parametrize("ending", ["keras", "h5", "hdf5"])
def test_a_file_of_a_keras_model_is_loaded_by_its_ending(ending, monkeypatch):
    asked = StrangersBackend()
    for module in (zoo, registry):
        monkeypatch.setattr(module, "backend", {"tensorflow": asked}.__getitem__)
    zoo.load_model(f"models/a.{ending}", "w.h5")
    zoo.load_model(f"keras-file:models/a.{ending}")
    assert asked.loads == [
        ("keras-file", f"models/a.{ending}", "w.h5"),
        ("keras-file", f"models/a.{ending}", None),
    ]
