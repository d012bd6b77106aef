"""Hashes of files: what a snapshot, a file of latents or of weights is known by."""

from __future__ import annotations

import hashlib
from pathlib import Path

from styleloom.errors import UserError, shown

CHUNK_BYTES = 1 << 20

_hashes: dict[tuple[str, int, int], str] = {}
"""Hash of each file read so far, by path, size and time of change: half a gigabyte takes a second."""


def sha256_of(path: Path) -> str:
    """SHA-256 of the content, hex. Raises UserError when the file cannot be read."""
    try:
        status = path.stat()
        key = (str(path.resolve()), status.st_size, status.st_mtime_ns)
        if key not in _hashes:
            digest = hashlib.sha256()
            with open(path, "rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    digest.update(chunk)
            _hashes[key] = digest.hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {shown(path)}: {error.strerror or error}") from error
    return _hashes[key]
