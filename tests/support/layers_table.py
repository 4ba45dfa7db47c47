"""Which layer is explained where none is named: docs/layers.md, written from runs.

``python tests/support/layers_table.py`` writes it, with names of models only their lines and
those it lacks, with ``--missing`` only those it lacks; tests/models/test_layers_table.py holds
some of it to the runs. Weights are drawn at random, and nothing is downloaded.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

PAGE = Path(__file__).parents[2] / "docs" / "layers.md"
COMMAND = "python tests/support/layers_table.py"

CLASSES = 13
"""No layer but one of class scores has as many channels."""

TOLERANCE = 1e-5
"""How far a map may be from that of plain code, of the largest sum of its parts' magnitudes."""

FLAT = 1e-6
"""How little a map differs from place to place that counts as flat, of its largest value."""

TORCHVISION = """
alexnet convnext_tiny deeplabv3_mobilenet_v3_large densenet121 efficientnet_b0 efficientnet_v2_s
fcn_resnet50 googlenet inception_v3 lraspp_mobilenet_v3_large maxvit_t mc3_18 mnasnet0_5
mobilenet_v2 mobilenet_v3_small r2plus1d_18 r3d_18 regnet_x_400mf regnet_y_400mf resnet18
resnext50_32x4d s3d shufflenet_v2_x0_5 squeezenet1_0 squeezenet1_1 swin3d_t swin_t swin_v2_t vgg11
vgg11_bn vit_b_32 wide_resnet50_2
"""

SEGMENTING = {"deeplabv3_mobilenet_v3_large", "fcn_resnet50", "lraspp_mobilenet_v3_large"}

TIMM = """
bat_resnext26ts beit_base_patch16_224 botnet26t_256 caformer_s18 cait_xxs24_224 coat_tiny
coatnet_pico_rw_224 coatnext_nano_rw_224 convformer_s18 convit_tiny convmixer_768_32
convnext_zepto_rms convnextv2_atto cpubone_nano crossvit_tiny_240 cs3darknet_focus_s csatv2
cspdarknet53 cspnext_tiny cspresnet50 cspresnext50 darknet17 darknetaa53 davit_tiny
deit_tiny_patch16_224 densenet121 densenetblur121d dla46x_c dpn48b eca_botnext26ts_256
eca_nfnet_l0 eca_resnext26ts eca_vovnet39b ecaresnet26t ecaresnetlight ecaresnext26t_32x4d
edgenext_xx_small efficientformer_l1 efficientformerv2_s0 efficientnet_lite0 efficientnetv2_rw_t
efficientvim_m1 efficientvit_b0 efficientvit_m0 ese_vovnet19b_slim_dw eva02_tiny_patch14_224
fasternet_t0 fastvit_t8 fbnetc_100 fbnetv3_b flexivit_small focalnet_tiny_srf
gc_efficientnetv2_rw_t gcresnet33ts gcresnext26ts gcvit_xxtiny gernet_s ghostnet_050
ghostnetv3_050 gmixer_12_224 gmlp_ti16_224 halo2botnet50ts_256 halonet_h1 haloregnetz_b
hardcorenas_b hgnet_tiny hgnetv2_b0 hiera_tiny_224 hieradet_small hrnet_w18_small iformer_t
inception_next_atto inception_resnet_v2 inception_v3 inception_v4 lambda_resnet26t
lamhalobotnet50ts_256 lcnet_035 lcnetv2_small legacy_seresnet18 legacy_xception levit_128s
lowformer_b0 mambaout_femto maxvit_pico_rw_256 maxxvit_rmlp_nano_rw_256 maxxvitv2_nano_rw_256
mixer_s16_224 mixnet_s mnasnet_small mobilenet_edgetpu_100 mobilenetv2_035 mobilenetv3_small_050
mobilenetv5_base mobileone_s1 mobilevit_xxs mobilevitv2_050 mvitv2_tiny
naflexvit_base_patch16_parfac_gap nest_tiny nextvit_small nf_regnet_b0 nfnet_l0 pit_ti_224
poolformer_s12 poolformerv2_s12 pvt_v2_b0 rdnet_tiny regnetv_040 regnetx_002 regnety_002
regnetz_005 regnetz_b16 repghostnet_050 repvgg_a0 repvit_m1 res2next50 resmlp_12_224 resnest14d
resnet10t resnet32ts resnetaa34d resnetblur18 resnetrs50 resnetv2_18 resnext26ts resnext50_32x4d
rexnet_100 rexnetr_100 sam2_hiera_tiny samvit_base_patch16_224 sebotnet33ts_256 sedarknet21
sehalonet33ts selecsls42 semnasnet_050 sequencer2d_s seresnet18 seresnet33ts seresnetaa50d
seresnext26t_32x4d seresnext26ts shvit_s1 skresnet18 skresnext50_32x4d spnasnet_100 starnet_s050
swiftformer_xs swin_tiny_patch4_window7_224 swinv2_cr_tiny_224 swinv2_tiny_window16_256
test_byobnet test_coatnet test_convnext test_efficientnet test_mambaout test_nfnet test_resnet
test_vit test_vit_relpos tf_mixnet_s tf_mobilenetv3_small_075 tiny_vit_5m_224 tinynet_e
tnt_s_legacy_patch16_224 tresnet_m twins_svt_small vgg11 visformer_tiny
vit_srelpos_small_patch16_224 vit_tiny_patch16_224 vit_tiny_patch16_dinov3_qkvb
vit_tiny_r_s16_p8_224 vitamin_small_224 volo_d1_224 vovnet39a xception41p xcit_nano_12_p8_224
"""
"""The smallest of each family, by ``timm.list_modules()`` and the first part of the name."""

KERAS = """
DenseNet121 EfficientNetB0 EfficientNetV2B0 InceptionResNetV2 InceptionV3 MobileNet
MobileNetV2 MobileNetV3Small NASNetMobile ResNet50 ResNet50V2 VGG16 Xception
"""

NAMES = [
    *(f"torchvision {name}" for name in TORCHVISION.split()),
    *(f"timm {name}" for name in TIMM.split()),
    *(f"Keras {name}" for name in KERAS.split()),
]

SIDES = {
    "torchvision alexnet": 224,
    "torchvision inception_v3": 299,
    "torchvision maxvit_t": 224,
    "torchvision s3d": 224,
    "torchvision vit_b_32": 224,
}
"""Side of the input where 128 will not do; timm's models say theirs."""

FRAMES = {"mc3_18": 8, "r3d_18": 8, "r2plus1d_18": 8, "s3d": 16, "swin3d_t": 8}
"""Frames of a model of videos."""


@dataclass(frozen=True)
class Found:
    """What a run of a model shows.

    Parameters
    ----------
    input : tuple of int
        Spatial size of the input.
    layer : str
        The layer that is explained.
    channels : int
        Of the layer.
    raw, expected : (B, *S) array
        Grad-CAM there, camcore's and that of plain framework code.
    scale : float
        Largest sum of the magnitudes that a place of the map is the sum of.
    """

    input: tuple[int, ...]
    layer: str
    channels: int
    raw: np.ndarray
    expected: np.ndarray
    scale: float

    @property
    def wrong(self) -> str:
        """What is wrong with the choice or the map; empty where nothing is."""
        largest = np.abs(self.expected).max()
        if not largest or np.ptp(self.raw) <= FLAT * largest:
            return "its map is flat"
        if self.channels == CLASSES:
            return "it is a layer of class scores"
        error = np.abs(self.raw - self.expected).max() / self.scale
        return f"its map is {error:.1e} from that of plain code" if error > TOLERANCE else ""


def found(name: str) -> Found:
    """Explain a model where no layer is named, and by plain code at the layer chosen."""
    return _keras(name) if name.startswith("Keras ") else _torch(name)


def _torch(name: str) -> Found:
    import torch
    from architectures import Architecture, by_hand

    import camcore
    from camcore.targets import Segmentation

    model, size = torch_model(name)
    inputs = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, *size))).float()
    segments = name.split()[1] in SEGMENTING
    options: dict[str, Any] = {"target": Segmentation(3), "output": "out"} if segments else {}
    result = camcore.explain(model, inputs, **options)
    ((layer, raw),) = result.raw.items()
    arrange = arranged(layer, raw.shape[1:])
    row = Architecture(
        name,
        "torch",
        lambda: model,
        lambda batch: inputs,
        layer,
        (lambda outputs: outputs["out"][:, 3].sum((1, 2))) if segments else best_class,
        None,
        arrange,
    )
    activations, gradients = by_hand.evidence(row, model, inputs)
    return _found(size, layer, raw, activations, gradients)


def torch_model(name: str) -> tuple[Any, tuple[int, ...]]:
    """Make a model of torchvision or timm with random weights, and say its input's size."""
    import torch

    package, kind = name.split()
    torch.manual_seed(0)
    side = SIDES.get(name, 128)
    if package == "timm":
        import timm

        model = timm.create_model(kind, pretrained=False, num_classes=CLASSES)
        config = model.pretrained_cfg
        least = (config.get("min_input_size") or (0,))[-1]
        side = config["input_size"][-1] if config.get("fixed_input_size") else max(side, least)
    else:
        import torchvision

        options: dict[str, Any] = {"weights_backbone": None} if kind in SEGMENTING else {}
        if kind in ("googlenet", "inception_v3"):
            options["init_weights"] = False
        model = torchvision.models.get_model(kind, weights=None, num_classes=CLASSES, **options)
    for parameter_name, parameter in model.named_parameters():
        # Heads and residuals that start with zeros would hide what comes before them.
        if parameter_name.endswith("weight") and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    frames = FRAMES.get(kind)
    size = (*([frames] if frames else []), side, side)
    normalise(model.eval(), torch.randn(1, 3, *size))
    return model, size


def normalise(model: Any, inputs: Any) -> None:
    """Give batch normalisations the statistics of what they see, as training does."""
    import torch

    def see(module: Any, args: Any) -> None:
        (x,) = args
        if x[:, 0].numel() > 1:
            axes = [axis for axis in range(x.ndim) if axis != 1]
            module.running_mean.copy_(x.mean(axes))
            module.running_var.copy_(x.var(axes))

    hooks = [
        module.register_forward_pre_hook(see)
        for module in model.modules()
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)
    ]
    with torch.no_grad():
        model(inputs)
    for hook in hooks:
        hook.remove()


def best_class(outputs: Any) -> Any:
    """Score of the predicted class of a batch of one."""
    values = outputs.detach() if hasattr(outputs, "detach") else outputs
    return outputs[:, int(np.argmax(np.asarray(values)))]


def arranged(layer: str, size: tuple[int, ...]) -> Any:
    """Bring an array of a layer to ``(B, C, *S)``, as its map's size tells."""

    def arrange(array: Any) -> Any:
        if array.ndim == 3 and len(size) == 2:  # tokens, class tokens first
            patches = array[:, -size[0] * size[1] :]
            return np.moveaxis(np.asarray(patches).reshape(len(array), *size, -1), -1, 1)
        last = tuple(array.shape[1:-1]) == size and tuple(array.shape[2:]) != size
        return np.moveaxis(np.asarray(array), -1, 1) if last else array

    return arrange


def _keras(name: str) -> Found:
    import keras
    from architectures import Architecture, by_hand

    import camcore

    keras.utils.set_random_seed(0)
    make = getattr(keras.applications, name.split()[1])
    size = (128, 128)
    model = make(weights=None, classes=CLASSES, classifier_activation=None, input_shape=(*size, 3))
    inputs = np.random.default_rng(0).normal(size=(1, *size, 3)).astype(np.float32)
    result = camcore.explain(model, inputs)
    ((layer, raw),) = result.raw.items()
    row = Architecture(
        name, "keras", lambda: model, lambda batch: inputs, layer, best_class, None,
        lambda array: np.moveaxis(np.asarray(array), -1, 1),
    )  # fmt: skip
    activations, gradients = by_hand.evidence(row, model, inputs)
    return _found(size, layer, raw, activations, gradients)


def _found(
    size: tuple[int, ...], layer: str, raw: np.ndarray, activations: Any, gradients: Any
) -> Found:
    weights = gradients.reshape(*gradients.shape[:2], -1).mean(axis=2)
    expected = np.einsum("bc,bc...->b...", weights, activations)
    scale = np.einsum("bc,bc...->b...", np.abs(weights), np.abs(activations)).max()
    return Found(size, layer, activations.shape[1], raw, expected, float(scale))


def line(name: str, one: Found) -> str:
    """The model's line of the page."""
    shown = "×".join(map(str, one.raw.shape[1:]))
    said = "×".join(map(str, one.input))
    return f"| {name} | {said} | `{one.layer}` | {one.channels} | {shown} |"


def lines() -> dict[str, str]:
    """The lines that the page has, by name of the model."""
    if not PAGE.exists():
        return {}
    return dict(re.findall(r"^(?=\| ([\w ]+\w) \|)(.*\d \|)$", PAGE.read_text("utf-8"), re.M))


def page(written: dict[str, str]) -> str:
    """The whole page from the lines by name of the model."""
    parts = [INTRODUCTION]
    for package in ("torchvision", "timm", "Keras"):
        listed = [written[n] for n in NAMES if n in written and n.startswith(f"{package} ")]
        parts.append("\n".join([f"## {package}\n", HEAD, *listed]) + "\n")
    return "\n".join(parts)


INTRODUCTION = f"""# Layers

Which layer is explained where none is named, for the smallest model of each family in torchvision
and timm and of Keras' applications, with random weights. Of every one of them the map of the
predicted class is not flat, the layer is none of class scores, and the map is that of plain
framework code, to {TOLERANCE:g} of what its largest value is summed up from.
`camcore layers MODEL --all` says the same of other models, and what is wrong with their other
layers.

Written by `{COMMAND}`.
"""

HEAD = """| model | input | layer | channels | map |
| --- | --- | --- | --: | --- |"""


def main(arguments: Sequence[str]) -> None:
    """Write the page anew; with names or ``--missing`` as the module says."""
    import timm  # noqa: F401  # once, for all the processes below
    import torchvision  # noqa: F401

    written = lines()
    some = [name for name in NAMES if name in arguments or name not in written]
    for name in some if arguments else NAMES:
        with ProcessPoolExecutor(1) as alone:  # its memory goes with it
            one = alone.submit(found, name).result()
        if one.wrong:
            print(f"{name}, {one.layer}: {one.wrong}", file=sys.stderr)
            continue
        written[name] = line(name, one)
        PAGE.write_text(page(written), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
