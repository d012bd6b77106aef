"""What a file is by its first bytes, for messages about files that are not what was asked for."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from styleloom.errors import UserError, shown

HEAD_BYTES = 4096

PICKLE = "a pickle; styleloom reads pickles of weights alone, without running them (docs/weights.md)"

MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19", f"a PyTorch file of the old format, {PICKLE}"),
    *((bytes([0x80, protocol]), PICKLE) for protocol in range(2, 6)),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"GGUF", "a GGUF file"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF"),
    (b"\x1f\x8b", "a gzip file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (b"version https://git-lfs", "a pointer of Git LFS; `git lfs pull` fetches the file itself"),
)
"""First bytes, and what begins so. The first that fits counts."""


def kind_of(head: bytes) -> str | None:
    """What a file that begins with `head` is, in words; None for what is not known."""
    if head and not head.strip(b"\0"):
        return "a file of zeros"
    for magic, kind in MAGIC:
        if head.startswith(magic):
            return f"a PyTorch file, {PICKLE}" if kind == "a zip archive" and b"data.pkl" in head else kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "a WebP image"
    if head[257:262] == b"ustar":
        return "a tar archive"
    if head[:1] == b"\x08" and head[1:2] < b"\x20" and head[2:3] == b"\x12":  # ir_version, then producer_name
        return "an ONNX file"
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    if text.startswith((b"{", b"[")):
        return "a JSON text"
    return None


def readable_file(path: Path | str, expected: str) -> bytes:
    """The first bytes of the regular file at `path`.

    Raises UserError, each case with words of its own: nothing is there, it is a folder or a device, it may
    not be read.
    """
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise UserError(f"{shown(path)}: is a folder; expected {expected}")
        if not stat.S_ISREG(mode):
            raise UserError(
                f"{shown(path)}: is no regular file, but a device, pipe or socket; expected {expected}"
            )
        with open(path, "rb") as file:
            return file.read(HEAD_BYTES)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{shown(path)}: there is no such file; expected {expected}") from error
    except PermissionError as error:
        raise UserError(f"{shown(path)}: permission denied, this user may not read it") from error
    except (OSError, ValueError) as error:  # a name that is too long, or holds a zero byte
        raise UserError(
            f"{shown(path)}: cannot be read ({getattr(error, 'strerror', None) or error})"
        ) from error
