"""TensorBoard events of a run; they need the `tensorboard` extra."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from styleloom.errors import UserError, shown


class EventWriter:
    """Writes every number of a tick. Without the extra it writes nothing; stats.jsonl has the same."""

    def __init__(self, path: Path | None, images_seen: int) -> None:
        """Open the events of the run at `path`; None writes nothing.

        Those after `images_seen` are dropped, as a resumed run writes them again.
        """
        self._writer: Any = None
        if path is None:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside tensorboard and protobuf
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                return
            self._path = path / "events"
            with self._told():
                self._writer = SummaryWriter(str(self._path), purge_step=images_seen + 1)

    def write(self, line: dict[str, Any], images_seen: int) -> None:
        """One tick, over images seen."""
        if self._writer is None:
            return
        with self._told():
            for name, value in line.items():
                if isinstance(value, int | float) and name not in ("tick", "step", "images_seen"):
                    self._writer.add_scalar(name, value, images_seen)
            self._writer.flush()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turn errors of the file system into UserError."""
        try:
            yield
        except OSError as error:
            raise UserError(f"cannot write {shown(self._path)}: {error.strerror or error}") from error

    def __enter__(self) -> EventWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
