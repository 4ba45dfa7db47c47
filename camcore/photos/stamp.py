"""Stamp pictures as results, to tell them from photographs, and whole ones from broken ones."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from zlib import crc32

from camcore.errors import InputError

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"


def stamped(picture: bytes, about: Mapping[str, Any]) -> bytes:
    """Put a comment into an encoded picture, which nothing shows.

    Parameters
    ----------
    picture : bytes
        A JPEG or PNG file.
    about : mapping
        What is said of the picture, as JSON can say it, in at most some 60,000 characters.

    Returns
    -------
    bytes
        The same picture, to the last bit of every pixel.

    Raises
    ------
    InputError
        The picture is neither.
    """
    text = json.dumps({"camcore": about, "crc": crc32(picture)}).encode("ascii")
    place = _place(picture)
    if picture.startswith(_PNG):
        chunk = b"tEXtComment\0" + text
        comment = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", crc32(chunk))
    elif place:
        comment = b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text
    else:
        raise InputError("Only a JPEG or PNG can be stamped. Encode the picture as one of these.")
    return picture[:place] + comment + picture[place:]


def read_stamp(path: Path) -> Any:
    """Read what `stamped` put into a picture.

    Parameters
    ----------
    path : Path
        A file.

    Returns
    -------
    object or None
        None where the file cannot be read, is not stamped, or has changed since.
    """
    try:
        data = path.read_bytes()
        place = _place(data)
        if data.startswith(_PNG):
            length = struct.unpack(">I", data[place : place + 4])[0]
            text, end = data[place + 16 : place + 8 + length], place + 12 + length
        else:
            end = place + 2 + struct.unpack(">H", data[place + 2 : place + 4])[0]
            text = data[place + 4 : end]
        said = json.loads(text)
        whole = said["crc"] == crc32(data[:place] + data[end:])
        return said["camcore"] if whole else None
    except (OSError, struct.error, ValueError, LookupError, TypeError):
        return None


def _place(picture: bytes) -> int:
    """Find where a comment stands: behind what has to come first; 0 for other formats."""
    if picture.startswith(_PNG):
        return len(_PNG) + 25  # the header: length, name, 13 bytes, checksum
    if picture.startswith(_JPEG + b"\xe0"):
        return 4 + int(struct.unpack(">H", picture[4:6])[0])
    return 2 if picture.startswith(_JPEG) else 0
