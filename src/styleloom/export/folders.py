"""Folders of files that are written whole: beside their place first, and moved there when all is done."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from styleloom.errors import UserError, shown


def check_folder(path: Path, overwrite: bool) -> None:
    """Raise UserError when `path` is a file, or a folder that holds something, without `overwrite`."""
    if path.exists() and not path.is_dir():
        raise UserError(f"cannot write {shown(path)}: it is a file, and this export is a folder of files")
    if not overwrite and path.is_dir() and any(path.iterdir()):
        raise UserError(f"{shown(path)}: there already, and not empty; choose another folder, or --overwrite")


@contextlib.contextmanager
def whole_folder(path: Path, overwrite: bool) -> Iterator[Path]:
    """Yield a new folder beside `path`; on success its files are moved to `path`, else they are removed.

    With `overwrite`, files of the same names are replaced and others stay. Raises UserError as `check_folder`
    does, and where the folder cannot be written.
    """
    check_folder(path, overwrite)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        yield partial
        path.mkdir(parents=True, exist_ok=True)
        for file in sorted(partial.rglob("*")):
            place = path / file.relative_to(partial)
            if file.is_dir():
                place.mkdir(exist_ok=True)
            else:
                os.replace(file, place)
    except OSError as error:
        raise UserError(f"cannot write {shown(path)}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
