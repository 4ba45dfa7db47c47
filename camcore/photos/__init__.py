"""Photographs, without a model: read, cropped, preprocessed and written."""

from camcore.photos.crop import CentreCrop
from camcore.photos.io import Format, ValueRange, encode, encode_png, read_photo, write_image
from camcore.photos.photo import Photo
from camcore.photos.preprocessing import Mode, Preprocessing, scaled

__all__ = [
    "CentreCrop",
    "Format",
    "Mode",
    "Photo",
    "Preprocessing",
    "ValueRange",
    "encode",
    "encode_png",
    "read_photo",
    "scaled",
    "write_image",
]
