"""The former place of `camcore.zoo.imagenet_classes`."""

from camcore.zoo import imagenet_classes

__all__ = ["imagenet_classes"]
