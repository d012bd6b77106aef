"""Which files of a source are images, and which one is their index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from pathlib import PurePosixPath

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
"""File name endings, in lower case, of images; of other files the first bytes decide."""

INDEX_NAME = "dataset.json"
"""The index inside an archive: never taken for an image nor counted as a foreign file."""

_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
"""Sizes of the headers that BMP files may have, bytes."""

SIGNATURE_BYTES = 32
"""First bytes that tell what a file is."""


def looks_like_image(head: bytes, tiff: bool = True) -> bool:
    """Whether a file that begins with `head` (32 bytes) is PNG, JPEG, WebP, BMP or, where asked, TIFF."""
    if head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")):
        return True
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return True
    if head.startswith(b"BM"):  # two letters prove little: reserved fields must be 0, the header's size known
        return head[6:10] == bytes(4) and int.from_bytes(head[14:18], "little") in _BMP_HEADERS
    return tiff and head.startswith((b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0"))


def images_among(names: Iterable[str], head: Callable[[str], bytes]) -> tuple[tuple[str, ...], Counter[str]]:
    """Split visible names into images, in the order given, and a count of the others by ending.

    `head` gives the first bytes of a file. Raw photos of cameras are TIFF files by content, and a TIFF reader
    finds a mere thumbnail in them. A TIFF file is told by content, therefore, only if its name has no ending.
    """
    images: list[str] = []
    ignored: Counter[str] = Counter()
    for name in names:
        path = PurePosixPath(name)
        hidden = any((part.startswith(".") and part != "..") or part == "__MACOSX" for part in path.parts)
        if path.name == INDEX_NAME or hidden:
            continue
        suffix = path.suffix.lower()
        if suffix in IMAGE_SUFFIXES or (path.name and _is_image(name, head, tiff=not suffix)):
            images.append(name)
        else:
            ignored[suffix or "(no ending)"] += 1
    return tuple(images), ignored


def _is_image(name: str, head: Callable[[str], bytes], tiff: bool) -> bool:
    try:
        return looks_like_image(head(name), tiff)
    except OSError:
        return False


def index_among(files: Collection[str], images: Collection[str]) -> str | None:
    """The name of `dataset.json`: at the top, else in the highest folder that all images share."""
    folders = PurePosixPath(next(iter(images), "")).parent.parts
    inside = ""
    for folder in ("", *folders):
        inside += folder and f"{folder}/"
        if not all(name.startswith(inside) for name in images):
            return None
        if inside + INDEX_NAME in files:
            return inside + INDEX_NAME
    return None
