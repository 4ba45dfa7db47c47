"""Photographs, without a model: read, cropped, preprocessed and written."""

from camcore.photos.crop import CentreCrop
from camcore.photos.io import encode, encode_png, read_photo, write_png
from camcore.photos.preprocessing import Preprocessing

__all__ = ["CentreCrop", "Preprocessing", "encode", "encode_png", "read_photo", "write_png"]
