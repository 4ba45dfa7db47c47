"""Preprocessing equals that of the libraries which trained the model."""

from __future__ import annotations

import numpy as np
import pytest

from camcore.errors import InputError
from camcore.photos.preprocessing import Preprocessing, application_mode, scaled


@pytest.fixture(scope="module")
def photo():
    """Smooth and not square."""
    rows, columns = np.mgrid[0:300, 0:420]
    waves = [np.sin(rows / a) + np.cos(columns / b) for a, b in ((9, 31), (17, 13), (40, 7))]
    return np.stack([127 + 60 * wave for wave in waves], -1).astype(np.uint8)


@pytest.mark.parametrize("mode", ["caffe", "tf", "torch"])
def test_the_modes_are_keras_own(mode, keras, require):
    utils = require("keras.src.applications.imagenet_utils")
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 6, 3), dtype=np.uint8)
    expected = utils.preprocess_input(images.astype(np.float32), mode=mode)
    found = scaled(images, mode)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-7)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": "224"}, "size='224'; expected a number of pixels"),
        ({"size": 0}, "size=0; expected a number of pixels, at least 1"),
        ({"resize": 25.5}, "resize=25.5; expected a number of pixels"),
        ({"mode": "keras"}, "mode='keras' is unknown; choose from torch, tf, caffe, raw"),
        ({"std": (1, 0, 1)}, r"std=\(1, 0, 1\); pixels cannot be divided by 0"),
    ],
)
def test_settings_that_prepare_nothing(settings, words):
    with pytest.raises(InputError, match=words):
        Preprocessing(**settings)


def test_the_modes_by_hand():
    pixel = np.array([[255, 0, 51]], np.uint8)
    assert scaled(pixel, "tf").tolist() == [pytest.approx([1, -1, -0.6])]
    assert scaled(pixel, "caffe").tolist() == [
        pytest.approx([51 - 103.939, -116.779, 255 - 123.68])
    ]
    by_hand = [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225]
    assert scaled(pixel, "torch").tolist() == [pytest.approx(by_hand)]
    assert scaled(pixel, "raw").tolist() == [[255, 0, 51]]
    assert pixel.tolist() == [[255, 0, 51]]


def test_a_photograph_is_made_224_pixels_a_side_unless_said_otherwise(photo):
    assert Preprocessing()(photo).shape == (1, 3, 224, 224)
    assert Preprocessing(160, channels_first=False)(photo).shape == (1, 160, 160, 3)


def test_a_photograph_is_scaled_as_torchvision_does_unless_said_otherwise(photo, require):
    pillow = require("PIL.Image")
    image = pillow.fromarray(photo).resize((313, 224), pillow.Resampling.BILINEAR)
    square = np.asarray(image)[:, 44:268]
    expected = scaled(square, "torch").transpose(2, 0, 1)
    np.testing.assert_array_equal(Preprocessing()(photo), [expected])


@pytest.mark.parametrize("name", ["ResNet50_Weights", "EfficientNet_B1_Weights", "Swin_T_Weights"])
def test_torchvisions_weights(name, photo, torch, require):
    weights = getattr(require("torchvision.models"), name).DEFAULT
    image = require("PIL.Image").fromarray(photo)
    expected = weights.transforms()(image).numpy()
    for source in (weights, weights.transforms()):
        found = Preprocessing.of(source)(photo)
        assert found.shape == (1, *expected.shape)
        np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["resnet10t", "tf_efficientnet_lite0", "levit_128s", "ghostnet_100"]
)
def test_timms_config(name, photo, torch, require):
    timm, data = require("timm"), require("timm.data")
    model = timm.create_model(name, pretrained=False)
    transform = data.create_transform(**data.resolve_model_data_config(model))
    expected = transform(require("PIL.Image").fromarray(photo)).numpy()
    found = Preprocessing.of(model)([photo, photo[:, ::-1]])
    assert found.shape == (2, *expected.shape)
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-6)
    assert Preprocessing.of(model.pretrained_cfg, size=96, resize=100)(photo).shape[-1] == 96


def test_timms_rounding_and_other_crops():
    config = {"input_size": (3, 224, 224), "crop_pct": 0.95, "mean": (0.5,) * 3, "std": (0.5,) * 3}
    assert Preprocessing.of(config).resize == 235
    with pytest.raises(InputError, match=r"crop_mode='squash'.*create_transform"):
        Preprocessing.of({**config, "crop_mode": "squash"})


@pytest.mark.parametrize(
    "application",
    [
        "vgg16.VGG16",
        "resnet.ResNet50",
        "resnet_v2.ResNet50V2",
        "mobilenet.MobileNet",
        "mobilenet_v2.MobileNetV2",
        "mobilenet_v3.MobileNetV3Small",
        "densenet.DenseNet121",
        "efficientnet.EfficientNetB0",
        "efficientnet_v2.EfficientNetV2B0",
        "xception.Xception",
        "inception_v3.InceptionV3",
        "inception_resnet_v2.InceptionResNetV2",
        "nasnet.NASNetMobile",
        "convnext.ConvNeXtTiny",
    ],
)
def test_keras_applications_by_the_names_they_are_given(application, keras, require):
    module, _, name = application.partition(".")
    module = require(f"keras.applications.{module}")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 2, 2, 3)).astype(np.float32)
    expected = np.asarray(module.preprocess_input(pixels.copy()))
    # MobileNet is the one whose models have another name than its function.
    mode = application_mode("mobilenet_1.00_224" if name == "MobileNet" else name.lower())
    np.testing.assert_allclose(scaled(pixels, mode), expected, rtol=0, atol=3e-5)


def test_a_keras_application_itself(photo, keras):
    model = keras.applications.MobileNetV2((96, 96, 3), 0.35, weights=None)
    found = Preprocessing.of(model)
    assert (found.size, found.mode, found.channels_first) == (96, "tf", False)
    batch = found(photo)
    assert batch.shape == (1, 96, 96, 3)
    expected = keras.applications.mobilenet_v2.preprocess_input(
        found.view(photo).astype(np.float32)
    )
    np.testing.assert_allclose(batch, expected, rtol=0, atol=3e-7)


@pytest.mark.parametrize("mean", [(0.485, 0.456, 0.406), (127 / 255,) * 3, [0.5, 0.4, 0.3]])
def test_double_precision_is_rounded_once(mean):
    view = np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    std = [0.229, 0.224, 0.225]
    exact = (view.astype(np.float64) / 255 - mean) / std
    found = Preprocessing(5, mean=mean, std=std, precision="float64").prepare(view)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, exact.transpose(2, 0, 1)[None].astype(np.float32))


def test_a_function_scales_pixels_in_place_of_a_mode():
    view = np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    prepare = Preprocessing(5, mode=lambda batch: (batch - 127) / 128, channels_first=False)
    found = prepare.prepare(view)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, (view[None].astype(np.float32) - 127) / 128)
    np.testing.assert_array_equal(prepare(view), found)


def test_grey_is_the_weighted_mean_of_the_colours():
    view = np.array([[[200, 100, 50]]], np.uint8)
    found = Preprocessing(1, mode="raw", grey=True).prepare(view)
    assert (found.shape, found.dtype) == ((1, 1, 1, 1), np.float32)
    assert found.item() == pytest.approx(0.299 * 200 + 0.587 * 100 + 0.114 * 50, rel=1e-6)
    with pytest.raises(InputError, match="grey=True leaves one"):
        Preprocessing(1, mode="tf", grey=True)


def test_maps_can_be_laid_back(photo):
    prepare = Preprocessing(64, 80)
    crop = prepare.crop(photo)
    assert crop.to_photo(np.ones((1, 8, 8), np.float32)).shape == (1, *photo.shape[:2])
    assert prepare.view(photo).shape == (1, 64, 64, 3)


def test_what_says_nothing_is_named():
    assert application_mode("resnet20_of_my_own") is None
    with pytest.raises(InputError, match=r"of a object.*Preprocessing\(224"):
        Preprocessing.of(object())
    with pytest.raises(InputError, match="channels last"):
        scaled(np.zeros((3, 4, 4)), "tf")
    with pytest.raises(InputError, match="torch, tf, caffe, raw"):
        scaled(np.zeros((4, 4, 3)), "bgr")
