"""Make the embedded data set of portraits: src/styleloom/data/embedded/portraits-64.zip.

`make_portraits.mjs` beside this file draws them and writes what each of them shows. To repeat it:

    node make_portraits.mjs --count 4640 --part train --size 64 --out portraits
    pip install pyoxipng==9.1.1
    python scripts/make_portraits.py portraits DEST.zip

A label has a place for each yes-or-no attribute, then red, green and blue (0 to 1) of hair, skin, clothes and
background. PNG files are as small as oxipng makes them without changing a pixel, which takes half an hour.
`styleloom dataset build`, which does without, makes an archive of any number of portraits.
"""

from __future__ import annotations

import sys
from pathlib import Path

import oxipng  # pyright: ignore[reportMissingImports] - needed by this script alone

from styleloom.data.build import BuildOptions, build_dataset
from styleloom.data.conversion import ConversionOptions
from styleloom.data.encodings import encode_png
from styleloom.data.pixels import PixelArray
from styleloom.data.sources import open_source
from styleloom.errors import UserError


def encode_small(pixels: PixelArray) -> bytes:
    """An RGB PNG as small as oxipng can make it: two thirds of zlib's."""
    return oxipng.optimize_from_memory(
        encode_png(pixels),
        level=6,
        bit_depth_reduction=False,
        color_type_reduction=False,
        grayscale_reduction=False,
        palette_reduction=False,
    )


def show_progress(done: int, total: int) -> None:
    """A line on stderr for every hundred images."""
    if done % 100 == 0 or done == total:
        print(f"{done} / {total}", file=sys.stderr)


def main() -> int:
    """Folder of portraits and destination from the command line."""
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    folder, dest = Path(sys.argv[1]), Path(sys.argv[2])
    options = BuildOptions(ConversionOptions(resolution=64), labels=str(folder / "attributes.csv"))
    try:
        report = build_dataset(open_source(folder), dest, options, show_progress, encode_small)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{report.index.recipe.num_images} images, {dest.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
