"""What tf-explain needs for the sections of docs/everyday.md, a function for each."""

from __future__ import annotations

import numpy as np
from PIL import Image

NOT_OFFERED = {
    "layers": "GradCAM.explain takes one layer_name",
    "concepts": "none of its seven methods finds any",
    "good": "it has no measures",
    "box": "no module makes boxes of maps",
    "signed": "utils/display.py stretches each map from its least value to its largest",
    "keep": "explain returns a picture, and save writes a picture",
    "report": "callbacks write pictures for TensorBoard, and nothing beside them",
    "transformers": "it takes Keras models, of which transformers has none since version 5",
    "yolo": "ultralytics has none in Keras",
    "volume": "core/grad_cam.py takes arrays of four axes",
    "video": "there is no reader or writer of files",
}
"""Sections that it has no way to do, and where that is seen."""


def overlay(network, path):
    import keras
    from tf_explain.core.grad_cam import GradCAM

    image = keras.utils.img_to_array(keras.utils.load_img(path, target_size=(224, 224)))
    tensor = ((image - 127) / 128)[None]
    best = int(np.argmax(network(tensor)))
    picture = GradCAM().explain((tensor, None), network, best, layer_name="head_relu")
    Image.fromarray(picture).save("where.png")
    return tensor, picture[None]


def named(network, path, names):
    import keras
    from tf_explain.core.grad_cam import GradCAM

    image = keras.utils.img_to_array(keras.utils.load_img(path, target_size=(224, 224)))
    tensor, index = ((image - 127) / 128)[None], names.index("tabby")
    picture = GradCAM().explain((tensor, None), network, index, layer_name="head_relu")
    return tensor, picture[None]


def layer(network, path):
    import keras
    from tf_explain.core.grad_cam import GradCAM

    image = keras.utils.img_to_array(keras.utils.load_img(path, target_size=(224, 224)))
    tensor = ((image - 127) / 128)[None]
    best, itself = int(np.argmax(network(tensor))), network.get_layer("block6d_add")
    by_name = GradCAM().explain((tensor, None), network, best, layer_name="block6d_add")
    by_itself = GradCAM().explain((tensor, None), network, best, layer_name=itself.name)
    return tensor, by_name[None], by_itself[None]


def methods(network, path):
    import keras
    from tf_explain.core.grad_cam import GradCAM
    from tf_explain.core.gradients_inputs import GradientsInputs
    from tf_explain.core.vanilla_gradients import VanillaGradients

    image = keras.utils.img_to_array(keras.utils.load_img(path, target_size=(224, 224)))
    tensor = ((image - 127) / 128)[None]
    about = (tensor, None), network, int(np.argmax(network(tensor)))
    pictures = [GradCAM().explain(*about, layer_name="head_relu")]
    for method in (VanillaGradients, GradientsInputs):
        pictures.append(np.repeat(method().explain(*about)[..., None], 3, axis=-1))
    Image.fromarray(np.hstack(pictures)).save("where.png")
    return tensor, pictures[0][None]


def smooth(network, path):
    import keras
    from tf_explain.core.smoothgrad import SmoothGrad

    image = keras.utils.img_to_array(keras.utils.load_img(path, target_size=(224, 224)))
    tensor = ((image - 127) / 128)[None]
    probabilities = keras.Model(network.inputs, keras.layers.Softmax()(network.output))
    best = int(np.argmax(network(tensor)))
    picture = SmoothGrad().explain((tensor, None), probabilities, best, noise=0.1)
    return tensor, picture[None]


def pixels(network, path):
    import keras
    from tf_explain.core.integrated_gradients import IntegratedGradients

    image = keras.utils.img_to_array(keras.utils.load_img(path, target_size=(224, 224)))
    tensor = ((image - 127) / 128)[None]
    best = int(np.argmax(network(tensor)))
    picture = IntegratedGradients().explain((tensor, None), network, best, n_steps=8)
    Image.fromarray(picture).save("where.png")
    return tensor, picture[None]


def five(network, path):
    import keras
    from tf_explain.core.grad_cam import GradCAM

    image = keras.utils.img_to_array(keras.utils.load_img(path, target_size=(224, 224)))
    tensor = ((image - 127) / 128)[None]
    best = np.argsort(network(tensor)[0])[:-6:-1].tolist()
    pictures = [GradCAM().explain((tensor, None), network, one, "head_relu") for one in best]
    return tensor, np.stack(pictures)


def loader(network, batches):
    from tf_explain.core.grad_cam import GradCAM

    for images in batches:
        pictures = []
        for image, best in zip(images, np.argmax(network(images), axis=1), strict=True):
            about = (image[None], None), network, int(best)
            pictures.append(GradCAM().explain(*about, layer_name="head_relu"))
    return images, np.stack(pictures)


def own_names(network, path):
    import keras
    from tf_explain.core.grad_cam import GradCAM

    names = [f"kind {i}" for i in range(1000)]
    image = keras.utils.img_to_array(keras.utils.load_img(path, target_size=(224, 224)))
    tensor, index = ((image - 127) / 128)[None], names.index("kind 7")
    picture = GradCAM().explain((tensor, None), network, index, layer_name="head_relu")
    return tensor, picture[None]
