"""Make the embedded data set: src/styleloom/data/embedded/emoji-64.zip.

The Fluent Emoji 3D images of the npm package @lobehub/fluent-emoji-3d 1.1.0 (MIT; see NOTICE.md beside the
result), without skin-tone variants and exact duplicates, composited on white, 64x64, Lanczos. To repeat it:

    npm pack @lobehub/fluent-emoji-3d@1.1.0
    pip install zopfli
    python scripts/make_emoji.py lobehub-fluent-emoji-3d-1.1.0.tgz DEST.zip

The same tarball, Pillow and zopfli give the same bytes. It takes a few minutes.
"""

from __future__ import annotations

import hashlib
import re
import sys
import tarfile
from pathlib import Path, PurePosixPath

import zopfli.png  # pyright: ignore[reportMissingImports] - needed by this script alone

from styleloom.data.build import BuildOptions, build_dataset
from styleloom.data.conversion import ConversionOptions
from styleloom.data.encodings import decode_png, encode_png
from styleloom.data.pixels import PixelArray
from styleloom.data.sources import Source

SKIN_TONE = re.compile(r"(^|-)1f3f[b-f](-|$)")  # Fitzpatrick modifiers U+1F3FB to U+1F3FF in a file name


class EmojiTarball(Source):
    """The distinct emoji without skin tone in the npm tarball, as a source of images."""

    kind = "a tarball of emoji"

    def __init__(self, path: Path) -> None:
        super().__init__(path, "emoji")
        self._files: dict[str, bytes] = {}
        seen: set[bytes] = set()
        with tarfile.open(path) as tar:
            for member in sorted(tar.getmembers(), key=lambda member: member.name):
                name = PurePosixPath(member.name)
                file = tar.extractfile(member)
                if file is None or name.suffix != ".webp" or SKIN_TONE.search(name.stem):
                    continue
                content = file.read()
                digest = hashlib.sha256(content).digest()
                if digest not in seen:
                    seen.add(digest)
                    self._files[name.name] = content
        self.names = tuple(sorted(self._files))

    def size(self, name: str) -> int:
        """Bytes of one image."""
        return len(self._files[name])

    def read(self, name: str) -> bytes:
        """The bytes of one image."""
        return self._files[name]


def encode_small(pixels: PixelArray) -> bytes:
    """A PNG as small as zopfli can make it: 3 % less than zlib's best."""
    plain = encode_png(pixels)
    small = zopfli.png.optimize(plain, num_iterations=15)
    try:
        decode_png(small, (pixels.shape[0], pixels.shape[1], pixels.shape[2]))
    except ValueError:  # it chose a palette or grey, which an RGB archive does not hold
        return plain
    return small


def show_progress(done: int, total: int) -> None:
    """Count on stderr."""
    print(f"\r{done} / {total}", end="\n" if done == total else "", file=sys.stderr)


def main() -> int:
    """Tarball and destination from the command line."""
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    options = BuildOptions(ConversionOptions(resolution=64), workers=1)
    report = build_dataset(EmojiTarball(Path(sys.argv[1])), sys.argv[2], options, show_progress, encode_small)
    print(f"{report.index.recipe.num_images} images, {Path(sys.argv[2]).stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
