"""LMDB databases of encoded images, as LSUN has them, in the order of their keys."""

from __future__ import annotations

import os
from typing import Any

from styleloom.data.sources.place import Place
from styleloom.data.sources.source import Source, SourceOptions, reason
from styleloom.errors import UserError, shown

_DATA = "data.mdb"
_MAGIC = b"\xde\xc0\xef\xbe"  # in the first page, after its header of 16 bytes


def fits(place: Place) -> bool:
    """Whether a place is an LMDB file, or a folder of one."""
    if place.names is not None:
        return _DATA in place.names
    return place.head[16:20] in (_MAGIC, _MAGIC[::-1])


class LMDBSource(Source):
    """All values of a database, by their keys."""

    kind = "an LMDB database"

    def __init__(self, place: Place, options: SourceOptions) -> None:
        path = place.path
        super().__init__(path)
        self._open()
        try:
            with self._database.begin() as transaction, transaction.cursor() as cursor:
                keys = cursor.iternext(keys=True, values=False)
                self.names = tuple(bytes(key).decode("utf-8", "surrogateescape") for key in keys)
        except Exception as error:
            raise UserError(f"{shown(path)}: a damaged LMDB database ({reason(error)})") from error

    def _open(self) -> None:
        try:
            import lmdb  # late: an extra
        except ImportError:
            raise UserError(
                f"{shown(self.path)}: an LMDB database, which takes the package lmdb; install it with: "
                "pip install 'styleloom[lmdb]'"
            ) from None
        file = self.path / _DATA if self.path.is_dir() else self.path
        try:  # without locks: the database is read alone, and its folder may be read-only
            self._database: Any = lmdb.open(
                os.fspath(file), subdir=False, readonly=True, lock=False, readahead=False, max_readers=1
            )
        except Exception as error:
            raise UserError(f"{shown(self.path)}: a damaged LMDB database ({reason(error)})") from error

    def size(self, name: str) -> int:
        """Bytes of one value."""
        return len(self.read(name))

    def read(self, name: str) -> bytes:
        """The bytes of one value. Raises OSError."""
        try:
            with self._database.begin() as transaction:
                data = transaction.get(name.encode("utf-8", "surrogateescape"))
        except Exception as error:
            raise OSError(f"damaged in the database: {reason(error)}") from error
        if data is None:
            raise OSError("gone from the database")
        return data

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_database"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()
