"""Small image files for the tests."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from styleloom.data import BuildOptions, ConversionOptions, build_dataset, open_source


def noise(width: int, height: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """uint8 [H, W, C], or [H, W] for one channel."""
    pixels = np.random.RandomState(seed).randint(0, 256, (height, width, channels), np.uint8)
    return pixels[:, :, 0] if channels == 1 else pixels


def means(pixels: np.ndarray, factor: int) -> np.ndarray:
    """Block means in float64, rounded to even, of uint8 [..., H, W]."""
    *lead, height, width = pixels.shape
    blocks = pixels.astype(np.float64).reshape(*lead, height // factor, factor, width // factor, factor)
    return np.rint(blocks.mean((-3, -1))).astype(np.uint8)


def encoded(image: Image.Image | np.ndarray, format: str = "PNG", **options: Any) -> bytes:
    """An image file."""
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, format, **options)
    return buffer.getvalue()


def make_folder(root: Path, number: int = 10, side: int = 16, channels: int = 3) -> Path:
    """A folder of `number` different PNGs in two sub-folders."""
    for i in range(number):
        path = root / ("ab"[i % 2]) / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(noise(side, side, channels, seed=i)))
    return root


def build(source: Path | str, dest: Path, resolution: int = 16, **options: Any) -> Path:
    """An archive of `source`; `options` are those of BuildOptions and ConversionOptions together."""
    names = ConversionOptions.__dataclass_fields__
    conversion = {name: options.pop(name) for name in list(options) if name in names}
    opened = open_source(source)
    build_dataset(opened, dest, BuildOptions(ConversionOptions(resolution, **conversion), **options))
    opened.close()
    return dest


def rewritten(archive: Path, dest: Path, change: dict[str, bytes | None], **options: Any) -> Path:
    """A copy of a zip with some entries replaced (bytes) or dropped (None)."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(dest, "w", **options) as new:
        for entry in old.infolist():
            content = change.get(entry.filename, old.read(entry.filename))
            if content is not None:
                new.writestr(entry.filename, content)
    return dest
