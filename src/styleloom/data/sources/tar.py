"""Tar files, and WebDataset's shards, which are tar files with the parts of a sample under one name.

A packed tar is unpacked into a temporary file first: nothing can be read from the middle of it otherwise.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import shutil
import tarfile
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from styleloom.data.image_names import IMAGE_SUFFIXES, SIGNATURE_BYTES, images_among
from styleloom.data.labels import Labels, match_labels
from styleloom.data.sources.place import Place
from styleloom.data.sources.source import LARGE_BYTES, Source, SourceOptions, reason, refuse_large
from styleloom.data.sources.stored import StoredBytes
from styleloom.errors import UserError, shown

_PACKED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
_USTAR = slice(257, 262)
_CLASS, _JSON = "cls", "json"
_JSON_KEYS = ("label", "cls", "class")
_MAX_LABEL_BYTES = 2**20


def is_tar(head: bytes) -> bool:
    """Whether a file begins as a tar, or a packed file, does."""
    return head[_USTAR] == b"ustar" or head.startswith(tuple(_PACKED))


def fits(place: Place) -> bool:
    """Whether a place is a tar, several of them, or a folder of shards."""
    if place.is_folder:
        return place.ends(".tar") and not place.ends(*IMAGE_SUFFIXES)
    return is_tar(place.head) or place.ends(".tar")


class TarSource(Source):
    """The images of one tar or of several, in stored order.

    Names are those in the tar; where two shards have the same, `SHARD/` stands before all.
    """

    kind = "tar"

    def __init__(self, place: Place, options: SourceOptions) -> None:
        super().__init__(place.path)
        shards = place.listed(".tar")
        self._shards: list[StoredBytes] = []
        self._temporary: list[Any] = []
        listed: list[list[tuple[str, int, int]]] = []
        problems = []
        for shard in shards:
            try:
                stored = self._stored(shard)
                listed.append(_members(stored.path))
                self._shards.append(stored)
            except (tarfile.TarError, OSError, EOFError, lzma.LZMAError) as error:
                problems.append(f"{shown(shard)}: not a readable tar ({reason(error)})")
        if problems:
            raise UserError("\n".join(problems))
        counts = Counter(name for members in listed for name, _, _ in members)
        several = len(shards) > 1 and any(count > 1 for count in counts.values())
        self._places: dict[str, tuple[int, int, int]] = {}
        for position, (shard, members) in enumerate(zip(shards, listed, strict=True)):
            before = f"{shard.name}/" if several else ""
            for name, offset, size in members:  # of two members of one name the later counts, as in unpacking
                self._places[before + name] = (position, offset, size)
        names, self.ignored = images_among(self._places, self._head)
        self.names = names
        for ending in (f".{_CLASS}", f".{_JSON}", ".txt"):  # parts of samples
            self.ignored.pop(ending, None)

    def _stored(self, shard: Path) -> StoredBytes:
        with open(shard, "rb") as file:
            head = file.read(6)
        unpack = next((opener for magic, opener in _PACKED.items() if head.startswith(magic)), None)
        if unpack is None:
            return StoredBytes(shard)
        whole = tempfile.NamedTemporaryFile(prefix="styleloom-", suffix=".tar")  # noqa: SIM115 - kept
        self._temporary.append(whole)
        with unpack(shard, "rb") as packed:
            shutil.copyfileobj(packed, whole, 2**20)
        whole.flush()
        return StoredBytes(Path(whole.name))

    def size(self, name: str) -> int:
        """Bytes of one file."""
        return self._places[name][2]

    def read(self, name: str) -> bytes:
        """The bytes of one file. Raises OSError."""
        position, offset, size = self._places[name]
        if size > LARGE_BYTES:
            refuse_large(size, self._head(name))
        data = self._shards[position].read(offset, size)
        if len(data) != size:
            raise OSError(f"cut off: {size:,} bytes should be in the tar, {len(data):,} are")
        return data

    def own_labels(self) -> Labels | None:
        """Those of WebDataset's samples: KEY.cls, or `label` in KEY.json. Raises UserError."""
        pairs: list[tuple[str, Any]] = []
        for name in self.names:
            key = _key(name)
            if f"{key}.{_CLASS}" in self._places:
                text = self._text(f"{key}.{_CLASS}").strip()
                pairs.append((name, int(text) if text.isdecimal() else text))
            elif f"{key}.{_JSON}" in self._places:
                label = _json_label(self._text(f"{key}.{_JSON}"))
                if label is not None:
                    pairs.append((name, label))
        return match_labels(shown(self.path), pairs, self.names) if pairs else None

    def _text(self, name: str) -> str:
        position, offset, size = self._places[name]
        return self._shards[position].read(offset, min(size, _MAX_LABEL_BYTES)).decode("utf-8", "replace")

    def _head(self, name: str) -> bytes:
        position, offset, size = self._places[name]
        return self._shards[position].read(offset, min(size, SIGNATURE_BYTES))

    def holds(self, path: Path) -> bool:
        """Whether `path` is one of the files."""
        return super().holds(path) or any(stored.path.resolve() == path.resolve() for stored in self._shards)

    def close(self) -> None:
        """Close the files, and remove what was unpacked."""
        for stored in self._shards:
            stored.close()
        for file in self._temporary:
            file.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_temporary": []}


def _members(path: Path) -> list[tuple[str, int, int]]:
    """Name, offset and size of every file in a tar.

    Raises what `tarfile` does; OSError where it is cut off.
    """
    found = []
    end = path.stat().st_size
    with tarfile.open(path, "r:") as archive:
        for member in archive:
            if member.isreg() and not member.issparse():
                found.append((member.name.removeprefix("./"), member.offset_data, member.size))
            archive.members = []  # type: ignore[attr-defined]  # a million of them are not kept
            if member.offset_data + member.size > end:
                raise OSError(f"cut off within {member.name!r}")
    return found


def _key(name: str) -> str:
    """What the parts of a sample share: the name up to the first dot of its last part."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]


def _json_label(text: str) -> Any:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    return next((content[key] for key in _JSON_KEYS if key in content), None)
