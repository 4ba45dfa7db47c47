"""Photographs, without a model: read, cropped, preprocessed and written."""

from camcore.photos.crop import CentreCrop
from camcore.photos.io import Format, encode, encode_png, read_photo, write_image
from camcore.photos.preprocessing import Mode, Preprocessing, scaled

__all__ = [
    "CentreCrop",
    "Format",
    "Mode",
    "Preprocessing",
    "encode",
    "encode_png",
    "read_photo",
    "scaled",
    "write_image",
]
