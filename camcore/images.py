"""The former place of `camcore.photos`."""

from camcore.photos import CentreCrop, encode_png, read_photo, write_png

__all__ = ["CentreCrop", "encode_png", "read_photo", "write_png"]
