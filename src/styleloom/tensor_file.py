"""Files of tensors and one JSON document: what snapshots, states and kept statistics have in common.

A file is in the safetensors format; its metadata key `styleloom` holds the document, with `format`, `version`
and `sha256`, a checksum of everything else in it. Reading executes nothing. The header is read and checked
first, the tensors only on request.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from styleloom.atomic import atomic_path
from styleloom.errors import UserError, quoted, shown
from styleloom.file_kinds import kind_of, readable_file

KEY = "styleloom"
CHECKSUM = "sha256"

VERSION = 2
"""Version of the file format. Files of version 1 may lack a checksum; later versions always have one."""

DOCUMENT_CHARACTERS = 2**26
"""Longest document that is read, in characters: this package writes none as long."""

Contents: TypeAlias = Mapping[str, tuple[str, tuple[int, ...]]]
"""Type, as safetensors calls it, and shape of every tensor by name."""

TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""torch's types under the names that safetensors gives them."""


def contents_of(tensors: Mapping[str, Tensor]) -> Contents:
    """Type and shape of tensors in memory, or on the meta device."""
    return {name: (TYPES.get(t.dtype, str(t.dtype)), tuple(t.shape)) for name, t in tensors.items()}


def check_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise UserError for weights that are NaN or infinite: images would be black, and logits NaN."""
    bad = [name for name, t in tensors.items() if not _is_finite(t)]
    if bad:
        raise UserError(
            f"{shown(path)}: {len(bad)} of {len(tensors)} weights hold NaN or infinite numbers, first "
            f"{quoted(sorted(bad)[0])}: the training diverged; take an earlier file"
        )


def _is_finite(tensor: Tensor) -> bool:
    """Whether every number is: if their sum is, which takes no memory, or one by one."""
    return bool(tensor.sum(dtype=torch.float64).isfinite()) or bool(tensor.isfinite().all())


def check_name(path: Path) -> None:
    """Raise UserError for a path that is no UTF-8: safetensors and TensorBoard cannot open it."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{shown(path)}: is no name in UTF-8; use another, or a locale of UTF-8 such as LC_ALL=C.UTF-8"
        ) from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> None:
    """Tensors and one JSON document, which names its `format`, to `path`: atomically, with a checksum."""
    check_name(path)
    document = dict(document) | {"version": VERSION}
    contiguous = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    document |= {CHECKSUM: _checksum(contiguous, _parsed(json.dumps(document)))}
    with atomic_path(path) as partial:
        try:
            save_file(contiguous, partial, {KEY: json.dumps(document)})
        except SafetensorError as error:  # what a full disk raises here
            raise UserError(f"cannot write {shown(path)}: {error}") from error


def read_tensors(path: Path, expected: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_tensors` wrote. Raises UserError for a file that is absent, damaged or something else."""
    with open_tensors(path, expected) as file:
        return file.read(), file.document


class TensorFile:
    """A file whose header has been read and checked.

    Args:
        path: where it is.
        file: what safetensors opened.
        document: as it was written.
        checksum: as it was recorded; None in files of version 1, which may have none.
    """

    def __init__(self, path: Path, file: Any, document: dict[str, Any], checksum: Any) -> None:
        self.path = path
        self.document = document
        self._file = file
        self._checksum = checksum

    @property
    def contents(self) -> Contents:
        """Type and shape of every tensor, from the header alone."""
        slices = {name: self._file.get_slice(name) for name in self._file.keys()}  # noqa: SIM118
        return {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}

    def read(self) -> dict[str, Tensor]:
        """All tensors. Raises UserError where they differ from what the checksum was made of."""
        tensors = {name: self._file.get_tensor(name) for name in self._file.keys()}  # noqa: SIM118
        if self._checksum is not None and self._checksum != _checksum(tensors, self.document):
            raise UserError(
                f"{shown(self.path)}: damaged, its content does not have the checksum that was "
                "recorded with it; take another copy"
            )
        return tensors


@contextlib.contextmanager
def open_tensors(path: Path, expected: str) -> Iterator[TensorFile]:
    """The file at `path`, when it is of the format `expected` and of a version that is known here.

    Raises UserError, also for what goes wrong with the file while it is open: absent, unreadable, damaged, or
    of another kind, which is named.
    """
    head = readable_file(path, f"a {expected} (*.safetensors)")
    check_name(path)
    try:
        with safe_open(str(path), framework="pt") as file:  # type: ignore[no-untyped-call]
            document = _document(path, (file.metadata() or {}).get(KEY), expected)
            checksum = document.pop(CHECKSUM, None)
            if checksum is None and document["version"] > 1:
                raise UserError(f"{shown(path)}: damaged, its checksum is missing; take another copy")
            yield TensorFile(path, file, document, checksum)
    except (SafetensorError, OSError, MemoryError) as error:
        kind = kind_of(head)
        if kind is not None:
            raise UserError(f"{shown(path)}: not a {expected}: this is {kind}") from error
        raise UserError(
            f"{shown(path)}: damaged or half-written, it cannot be read ({quoted(str(error))})"
        ) from error


def _document(path: Path, text: str | None, expected: str) -> dict[str, Any]:
    """The JSON document of a header. Raises UserError unless it is of the right format and version."""
    if text is not None and len(text) > DOCUMENT_CHARACTERS:
        raise UserError(
            f"{shown(path)}: damaged, its document has {len(text):,} characters, at most "
            f"{DOCUMENT_CHARACTERS:,}"
        )
    try:
        document = {} if text is None else _parsed(text)
    except RecursionError as error:
        raise UserError(f"{shown(path)}: damaged, its document is nested too deeply") from error
    except ValueError as error:
        raise UserError(f"{shown(path)}: damaged, its document is no JSON ({quoted(str(error))})") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != expected:
        what = "no styleloom metadata" if found is None else quoted(found)
        raise UserError(f"{shown(path)}: not a {expected} (found: {what})")
    version = document.get("version")
    if type(version) is not int or version < 1:
        raise UserError(
            f"{shown(path)}: damaged, its version is {quoted(version)}; valid: a number, 1 to {VERSION}"
        )
    if version > VERSION:
        raise UserError(
            f"{shown(path)}: written by a newer styleloom (format {quoted(version)}, this "
            f"one reads 1 to {VERSION}); update styleloom"
        )
    return document


def _parsed(text: str) -> Any:
    """`text` as JSON; NaN and infinities, which JSON does not have, are null."""
    return json.loads(text, parse_constant=lambda name: None)


def _checksum(tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> str:
    """SHA-256, in hex, over the document and every tensor's name, type, shape and bytes."""
    contents = contents_of(tensors)
    digest = hashlib.sha256(json.dumps([document, sorted(contents.items())], sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
