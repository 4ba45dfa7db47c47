"""Detection: one box by its number or by overlap, all boxes of a class; MTCNN's three networks.

Random weights find next to nothing, so thresholds are zero and the heads' weights enlarged.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from architectures.convolutional import channels_last_to_first, images, torch_images
from architectures.row import Architecture
from camcore.targets import Box, Detections, Part, Segmentation

KIND = "Detection"
OVERLAPPED = (8.0, 8.0, 56.0, 56.0)


def detector(name: str, *last: str, gain: float = 30, **options: Any) -> Any:
    """A torchvision detector of four classes that returns ten boxes an image."""
    import torch
    from torchvision.models import detection

    torch.manual_seed(0)
    make = getattr(detection, name)
    model = make(weights=None, weights_backbone=None, num_classes=4, **options).eval()
    for path in last:
        model.get_submodule(path).weight.data *= gain
    return model


def calibrated(make: Callable[[], Any]) -> Any:
    """The model, its batch normalisations having seen a batch: else signals die out in it."""
    import torch

    model = make()
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        model(*listed(4))
    return model.eval()


SCALED = {"min_size": 96, "max_size": 160}
FASTER_RCNN = partial(
    detector,
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "roi_heads.box_predictor.cls_score",
    box_score_thresh=0.0,
    rpn_post_nms_top_n_test=20,
    box_detections_per_img=10,
    **SCALED,
)
RETINANET = partial(
    detector,
    "retinanet_resnet50_fpn",
    "head.classification_head.cls_logits",
    score_thresh=0.0,
    detections_per_img=10,
    **SCALED,
)
SSDLITE = partial(
    detector,
    "ssdlite320_mobilenet_v3_large",
    *(f"head.classification_head.module_list.{level}.1" for level in range(6)),
    gain=1,
    score_thresh=0.0,
    detections_per_img=50,
)


def listed(batch: int) -> tuple[list[Any]]:
    """A batch as detectors take it: a list of images in [0, 1]."""
    return (list(0.5 + 0.2 * torch_images(batch)),)


def of_list(inputs: tuple[list[Any]], index: int) -> tuple[list[Any]]:
    """One image, in a list."""
    return (inputs[0][index : index + 1],)


def each(score: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A score of what is detected in one image, for all images."""

    def scores(outputs: Any) -> Any:
        import torch

        return torch.stack([score(one) for one in outputs])

    return scores


def overlapping(one: Any) -> Any:
    """Score of the box that overlaps most, as torchvision measures it."""
    import torch
    from torchvision.ops import box_iou

    return one["scores"][box_iou(one["boxes"], torch.tensor([OVERLAPPED]))[:, 0].argmax()]


def yolo(name: str) -> Any:
    """An ultralytics detector of four classes, from its configuration."""
    import torch
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    return DetectionModel(name, ch=3, nc=4, verbose=False).eval()


def mtcnn(name: str) -> Any:
    """One of MTCNN's networks, with the weights that its package brings."""
    from facenet_pytorch.models import mtcnn as package

    return getattr(package, name)(pretrained=True).eval()


def keras_detector() -> Any:
    """Boxes and class scores of 16 cells, as two named outputs."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    x = inputs = layers.Input((64, 64, 3))
    for i, filters in enumerate((4, 6, 8, 8)):
        scale = layers.Conv2D(
            filters, 3, strides=2, padding="same", activation="relu", name=f"scale_{i}"
        )
        x = scale(x)
    cells = layers.Reshape((16, 8), name="cells")(x)
    boxes = layers.Dense(4, activation="softplus", name="sizes")(cells)
    classes = layers.Dense(5, name="scores")(cells)
    return keras.Model(inputs, {"boxes": boxes, "classes": classes})


KERAS = Detections(Part("boxes"), Part("classes"), corners="cxcywh")


def best_of_class(outputs: Any) -> Any:
    """Scores of class 3 in cell 7."""
    return outputs["classes"][:, 7, 3]


torchvision_row = partial(
    Architecture,
    framework="torch",
    inputs=listed,
    alone=of_list,
    needs=("torchvision",),
    kind=KIND,
    tolerance=1e-4,
)
mtcnn_row = partial(
    Architecture, framework="torch", needs=("facenet_pytorch",), kind=KIND, tolerance=2e-5
)

ARCHITECTURES = [
    torchvision_row(
        name="torchvision Faster R-CNN, a box",
        make=FASTER_RCNN,
        layer="backbone.body.16",
        narrow="backbone.body.0",
        score=each(lambda one: one["scores"][2]),
        target=Box(2),
    ),
    torchvision_row(
        name="torchvision RetinaNet, the box that overlaps",
        make=RETINANET,
        layer="backbone.body.layer4",
        narrow="backbone.body.bn1",
        score=each(overlapping),
        target=Box(overlapping=OVERLAPPED, least_overlap=0.1),
    ),
    torchvision_row(
        name="torchvision SSDLite, all boxes of a class",
        make=partial(calibrated, SSDLITE),
        layer="backbone.features.1",
        narrow="backbone.features.0.0",
        score=each(lambda one: one["scores"][one["labels"] == 1].sum()),
        target=Box(of_class=1),
    ),
    Architecture(
        name="ultralytics YOLOv8, a box and a class",
        framework="torch",
        make=partial(yolo, "yolov8n.yaml"),
        inputs=torch_images,
        layer="model.21",
        score=lambda outputs: outputs[0][:, 4 + 2, 80],
        target=Box(80, of_class=2, arranged="yolo"),
        options={"output": "0"},
        needs=("ultralytics",),
        kind=KIND,
    ),
    mtcnn_row(
        name="MTCNN P-Net, faces anywhere",
        make=partial(mtcnn, "PNet"),
        inputs=partial(torch_images, size=(32, 32)),
        layer="prelu3",
        score=lambda outputs: outputs[1][:, 1].sum((1, 2)),
        target=Segmentation(1),
        options={"output": "1", "score": "output"},
    ),
    mtcnn_row(
        name="MTCNN R-Net, a face",
        make=partial(mtcnn, "RNet"),
        inputs=partial(torch_images, size=(24, 24)),
        layer="prelu3",
        score=lambda outputs: outputs[1][:, 1],
        target=1,
        options={"output": "1", "score": "output"},
    ),
    mtcnn_row(
        name="MTCNN O-Net, a face",
        make=partial(mtcnn, "ONet"),
        inputs=partial(torch_images, size=(48, 48)),
        layer="prelu4",
        score=lambda outputs: outputs[2][:, 1],
        target=1,
        options={"output": "2", "score": "output"},
    ),
    Architecture(
        name="Keras, boxes and classes as two outputs",
        framework="keras",
        make=keras_detector,
        inputs=partial(images, channels="last"),
        layer="scale_3",
        score=best_of_class,
        target=Box(7, of_class=3, arranged=KERAS),
        arrange=channels_last_to_first,
        kind=KIND,
    ),
]
