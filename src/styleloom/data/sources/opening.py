"""Which kind of source a path is: the table of kinds, told by content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from styleloom.data.sources import cifar, idx, lsun, manifest, tables, tar, tfrecords, video
from styleloom.data.sources.folder import FolderSource
from styleloom.data.sources.place import Place, look
from styleloom.data.sources.source import Source, SourceOptions
from styleloom.data.sources.zip_file import ZipSource
from styleloom.errors import UserError, shown
from styleloom.names import embedded_name

_EMBEDDED = Path(__file__).parent.parent / "embedded"

EMBEDDED_SETS = {"portraits": _EMBEDDED / "portraits-64.zip", "emoji": _EMBEDDED / "emoji-64.zip"}
"""Data sets inside the package, by name: archives in the project's own format."""

Opener: TypeAlias = Callable[[Place, SourceOptions], Source]


@dataclass(frozen=True)
class Kind:
    """One kind of source.

    Args:
        name: in words, for messages.
        fits: whether a place is of this kind, by its names and first bytes.
        open: makes the source. Raises UserError.
    """

    name: str
    fits: Callable[[Place], bool]
    open: Opener


KINDS = (
    Kind("CIFAR", cifar.fits, cifar.CIFARSource),
    Kind("MNIST's idx", idx.fits, idx.IDXSource),
    Kind("TFRecords", tfrecords.fits, tfrecords.TFRecordSource),
    Kind("LMDB", lsun.fits, lsun.LMDBSource),
    Kind("Parquet", tables.fits_parquet, tables.ParquetSource),
    Kind("a folder of `datasets`", tables.fits_datasets, tables.DatasetsSource),
    Kind("tar", tar.fits, tar.TarSource),
    Kind("a manifest (CSV, JSONL)", manifest.fits, manifest.ManifestSource),
    Kind("video", video.fits, video.VideoSource),
    Kind("a folder of images", lambda place: place.is_folder, lambda place, _: FolderSource(place.path)),
    Kind("a zip of images", lambda place: True, lambda place, _: ZipSource(place.path)),
)
"""In the order in which they are tried; the first that fits is it."""


def open_source(path_or_name: str | Path, options: SourceOptions | None = None) -> Source:
    """The source called `path_or_name`: an embedded name (``portraits``), or a path of one of `KINDS`.

    A path has a separator in it: see `names.embedded_name`. A file is an image by its content or its name:
    one that is called an image and is none counts as a bad image. Hidden files and ``__MACOSX`` are passed
    over silently; other files that are not images are counted in `ignored`.
    Raises UserError when nothing is there, it is of no kind, or it holds no images.
    """
    embedded = embedded_name(path_or_name, EMBEDDED_SETS)
    if embedded is not None:
        source: Source = ZipSource(EMBEDDED_SETS[embedded], name=embedded)
    else:
        place = look(Path(path_or_name), "no such source", _valid())
        kind = next(kind for kind in KINDS if kind.fits(place))
        source = kind.open(place, options or SourceOptions())
    if not source.names:
        source.close()
        others = f" ({sum(source.ignored.values())} other files)" if source.ignored else ""
        raise UserError(
            f"{shown(path_or_name)}: no images in it{others}; looked for PNG, JPEG, WebP, BMP and TIFF files"
        )
    return source


def _valid() -> str:
    kinds = ", ".join(kind.name for kind in KINDS)
    return f"{kinds}, or one of the embedded sets ({', '.join(sorted(EMBEDDED_SETS))})"
