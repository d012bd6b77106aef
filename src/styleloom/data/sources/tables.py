"""Tables with a column of images: Parquet files, and folders that the library `datasets` saved.

A folder of `datasets` holds Arrow files, which are mapped into memory and read where they lie. Parquet packs
rows in groups, of which nothing can be read from the middle: the images are first copied, file by file, into
a temporary file.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from styleloom.data.labels import Labels, match_labels
from styleloom.data.sources.place import Place
from styleloom.data.sources.source import Source, SourceOptions, reason
from styleloom.data.sources.stored import StoredBytes
from styleloom.errors import UserError, quoted, shown

_PARQUET = b"PAR1"
_STATE, _SPLITS, _INFO = "state.json", "dataset_dict.json", "dataset_info.json"
_LABELS = ("label", "labels", "fine_label", "class")
_BATCH_ROWS = 64
_BYTES = ("binary", "large_binary")


def fits_parquet(place: Place) -> bool:
    """Whether a place is a Parquet file, several, or a folder with some at its top."""
    return place.head.startswith(_PARQUET) or place.ends(".parquet")


def fits_datasets(place: Place) -> bool:
    """Whether a place is a folder that `datasets` saved: a set, or splits of one."""
    names = place.names or frozenset()
    return _SPLITS in names or {_STATE, _INFO} <= names


def _arrow(path: Path) -> Any:
    try:
        import pyarrow  # late: an extra
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError:
        raise UserError(
            f"{shown(path)}: a table, which takes the package pyarrow; install it with: "
            "pip install 'styleloom[tables]'"
        ) from None
    return pyarrow


class _TableSource(Source):
    """Rows by number, with labels from a column of the table."""

    def _describe(self, column: str, labels: list[Any], classes: list[str] | None, number: int) -> None:
        self._column, self._labels, self._classes = column, labels, classes
        self.names = tuple(f"{position:08d}" for position in range(number))

    def settings(self) -> str:
        """The column of images."""
        return self._column

    def own_labels(self) -> Labels | None:
        """Those of a column `label`; None without one. Raises UserError."""
        if not self._labels:
            return None
        pairs = [
            (name, label) for name, label in zip(self.names, self._labels, strict=True) if label is not None
        ]
        found = match_labels(shown(self.path), pairs, self.names)
        if self._classes is not None and len(self._classes) >= found.label_dim:
            return Labels(found.by_name, tuple(self._classes), len(self._classes))
        return found


class ParquetSource(_TableSource):
    """The images of Parquet files, in their order."""

    kind = "Parquet"

    def __init__(self, place: Place, options: SourceOptions) -> None:
        super().__init__(place.path)
        arrow = _arrow(place.path)
        self._copy = tempfile.NamedTemporaryFile(prefix="styleloom-", suffix=".images")  # noqa: SIM115 - kept
        self._places: list[tuple[int, int]] = []
        labels: list[Any] = []
        column, classes, problems = "", None, []
        for path in place.listed(".parquet"):
            try:
                with arrow.parquet.ParquetFile(path) as file:
                    column, label = _columns(path, file.schema_arrow, options.column)
                    classes = _class_names(file.schema_arrow, label)
                    self._store(file, column, label, labels)
            except UserError as error:
                problems.append(str(error))
            except Exception as error:  # what damaged tables raise is not enumerable
                problems.append(f"{shown(path)}: not a readable Parquet file ({reason(error)})")
        if problems:
            self._copy.close()
            raise UserError("\n".join(problems))
        self._copy.flush()
        self._stored = StoredBytes(Path(self._copy.name))
        self._describe(column, labels, classes, len(self._places))

    def _store(self, file: Any, column: str, label: str | None, labels: list[Any]) -> None:
        for batch in file.iter_batches(_BATCH_ROWS, columns=[column, *([label] if label else [])]):
            for cell in batch.column(column):
                data = _bytes_of(cell)
                self._places.append((self._copy.tell(), -1 if data is None else len(data)))
                self._copy.write(data or b"")
            if label:
                labels += batch.column(label).to_pylist()

    def size(self, name: str) -> int:
        """Bytes of one image."""
        return max(0, self._places[int(name)][1])

    def read(self, name: str) -> bytes:
        """The bytes of one image. Raises OSError."""
        offset, size = self._places[int(name)]
        if size < 0:
            raise OSError(f"row {int(name)} has no image in column {quoted(self._column)}")
        return self._stored.read(offset, size)

    def close(self) -> None:
        """Remove the copy."""
        self._stored.close()
        if self._copy is not None:
            self._copy.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_copy": None}


class DatasetsSource(_TableSource):
    """The images of a folder that `datasets` saved; of several splits those of `train`."""

    kind = "a folder of datasets"

    def __init__(self, place: Place, options: SourceOptions) -> None:
        super().__init__(place.path)
        folder = place.path
        if place.names is not None and _SPLITS in place.names:
            splits = [name for name in place.names if (folder / name / _STATE).is_file()]
            if "train" not in splits and len(splits) != 1:
                raise UserError(
                    f"{shown(folder)}: splits {', '.join(sorted(splits))}; name the folder of one"
                )
            folder = folder / ("train" if "train" in splits else splits[0])
        self._files = [folder / name for name in _data_files(folder)]
        self._open()
        schema = self._table.schema
        column, label = _columns(folder, schema, options.column)
        labels = self._table.column(label).to_pylist() if label else []
        self._describe(column, labels, _class_names(schema, label), self._table.num_rows)

    def _open(self) -> None:
        arrow = _arrow(self.path)
        parts, problems = [], []
        for path in self._files:
            try:
                mapped = arrow.memory_map(str(path))
                parts.append(arrow.ipc.open_stream(mapped).read_all())
            except Exception as error:
                problems.append(f"{shown(path)}: not a readable Arrow file ({reason(error)})")
        if problems:
            raise UserError("\n".join(problems))
        self._table = arrow.concat_tables(parts)

    def size(self, name: str) -> int:
        """Bytes of one image."""
        return len(_bytes_of(self._table.column(self._column)[int(name)]) or b"")

    def read(self, name: str) -> bytes:
        """The bytes of one image. Raises OSError."""
        data = _bytes_of(self._table.column(self._column)[int(name)])
        if data is None:
            raise OSError(f"row {int(name)} has no image in column {quoted(self._column)}")
        return data

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_table"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()


def _data_files(folder: Path) -> list[str]:
    """Names of the Arrow files, in order. Raises UserError."""
    try:
        state = json.loads((folder / _STATE).read_bytes())
        names = [str(file["filename"]) for file in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{shown(folder / _STATE)}: not a readable state of datasets ({error})") from error
    if not names or any(Path(name).name != name for name in names):
        raise UserError(f"{shown(folder / _STATE)}: names no files of its folder")
    return names


def _columns(path: Path, schema: Any, wanted: str) -> tuple[str, str | None]:
    """The column of images, and that of labels. Raises UserError."""
    images = [field.name for field in schema if _is_image(field.type)]
    label = next((name for name in _LABELS if name in schema.names), None)
    if wanted:
        if wanted not in images:
            raise UserError(
                f"{shown(path)}: no column of images {quoted(wanted)}; there are {quoted(images)}"
            )
        return wanted, label
    named = [name for name in images if name in ("image", "img", "jpg", "png", "webp")]
    if len(named or images) != 1:
        raise UserError(
            f"{shown(path)}: {len(images)} columns that may hold images ({quoted(images)}) among "
            f"{quoted(schema.names)}; name one with --column"
        )
    return (named or images)[0], label


def _is_image(kind: Any) -> bool:
    """Bytes, or a structure with bytes in it as `datasets` has for images."""
    if str(kind) in _BYTES:
        return True
    return any(field.name == "bytes" and str(field.type) in _BYTES for field in _parts(kind))


def _parts(kind: Any) -> Iterator[Any]:
    if str(kind).startswith("struct<"):
        yield from (kind.field(position) for position in range(kind.num_fields))


def _bytes_of(cell: Any) -> bytes | None:
    value = cell["bytes"] if hasattr(cell, "keys") and cell.is_valid else cell
    return value.as_py() if value.is_valid else None


def _class_names(schema: Any, label: str | None) -> list[str] | None:
    """Names of classes, as `datasets` leaves them in the schema."""
    try:
        described = json.loads(schema.metadata[b"huggingface"])
        names = described["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return [str(name) for name in names] if isinstance(names, list) else None
