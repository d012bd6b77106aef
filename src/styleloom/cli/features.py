"""`styleloom features list`, `styleloom features fetch` and `styleloom features check`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro
from rich.progress import DownloadColumn
from rich.table import Table

from styleloom.cli.progress import counting
from styleloom.cli.report import console, print_json, say
from styleloom.errors import UserError
from styleloom.features import weights
from styleloom.features.weights import WeightFile
from styleloom.file_hash import sha256_of

if TYPE_CHECKING:
    from styleloom.features.registry import NetworkEntry

HASH_SHOWN = 12
"""Digits of a SHA-256 in tables; --json has them all."""


@dataclass
class FeaturesList:
    """List the networks of metrics, their weights, and which of these are here."""

    json: bool = False
    """Print one JSON document instead of a table."""

    def run(self) -> int:
        """List on stdout. Returns 0."""
        from styleloom.features import registry  # late, here and below: torch takes seconds to import

        networks = {name: registry.entry(name) for name in registry.names()}
        if self.json:
            documents = [_network_document(name, entry) for name, entry in networks.items()]
            print_json({"folder": _text(weights.folder()), "networks": documents})
            return 0
        table = Table("network", "weights", "size", "licence", "SHA-256", "present")
        for name, entry in networks.items():
            for file in entry.weights:
                table.add_row(*_cells(name, file))
            if not entry.weights:
                table.add_row(name, "none")
        console().print(table)
        for name, entry in networks.items():
            say(f"{name}: {entry.description}")
            for file in entry.weights:
                say(f"  {file.file}: {file.source}; {file.url or file.install}; SHA-256 {file.sha256}")
        say(f"folder of weights: {weights.folder() or weights.NO_FOLDER}")
        return 0


@dataclass
class FeaturesFetch:
    """Download the weights of networks; each file is verified by its SHA-256."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Networks; see styleloom features list."""
    all: bool = False
    """Fetch the weights of every network."""
    json: bool = False
    """Print one JSON document instead of a report."""

    def run(self) -> int:
        """Fetch; paths on stdout, progress on stderr. Returns 0. Raises UserError."""
        if bool(self.names) == self.all:
            raise UserError("names: give the networks to fetch, or --all")
        from styleloom.features import registry

        paths: dict[str, str] = {}
        for file in _files(registry.names() if self.all else self.names):
            with counting(file.file, DownloadColumn()) as progress:
                paths[file.file] = str(weights.fetch(file, progress))
            if not self.json:
                say(f"{file.file}: {paths[file.file]}")
        if self.json:
            print_json({"files": [{"file": file, "path": path} for file, path in paths.items()]})
        return 0


@dataclass
class FeaturesCheck:
    """Compare the weights that are here with their SHA-256."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Networks; every one by default."""
    json: bool = False
    """Print one JSON document instead of a report."""

    def run(self) -> int:
        """Check; report on stdout. Returns 0, or 1 when a file is here and wrong; absent is no failure."""
        from styleloom.features import registry

        documents = [_check(file) for file in _files(self.names or registry.names())]
        if self.json:
            print_json({"files": documents})
        else:
            for found in documents:
                say(f"{found['file']}: {_verdict(found)}")
        return int(any(found["status"] == "wrong" for found in documents))


def _files(names: Iterable[str]) -> list[WeightFile]:
    """Weights of the networks, each once. Raises UserError for an unknown name."""
    from styleloom.features import registry

    return list(dict.fromkeys(file for name in names for file in registry.entry(name).weights))


def _cells(name: str, file: WeightFile) -> tuple[str, ...]:
    """A row of the table."""
    present = "no" if weights.locate_weights(file) is None else "yes"
    return name, file.file, _size(file.num_bytes), file.licence, f"{file.sha256[:HASH_SHOWN]}...", present


def _network_document(name: str, entry: NetworkEntry) -> dict[str, Any]:
    return {
        "name": name,
        "suffix": entry.suffix,
        "description": entry.description,
        "licence": entry.licence,
        "features": entry.features is not None,
        "distance": entry.distance is not None,
        "default_layer": entry.default_layer,
        "logits_layer": entry.logits_layer,
        "weights": [{**asdict(file), "path": _text(weights.locate_weights(file))} for file in entry.weights],
    }


def _check(file: WeightFile) -> dict[str, Any]:
    """Status "ok", "wrong" or "absent" of a file, where it lies, and its hash."""
    path = weights.locate_weights(file)
    found = None if path is None else sha256_of(path)
    status = "absent" if found is None else "ok" if found == file.sha256 else "wrong"
    return {
        "file": file.file,
        "status": status,
        "path": _text(path),
        "sha256": found,
        "expected_sha256": file.sha256,
    }


def _verdict(found: dict[str, Any]) -> str:
    if found["status"] == "wrong":
        return f"wrong: {found['path']} has SHA-256 {found['sha256']}, expected {found['expected_sha256']}"
    return found["status"] if found["path"] is None else f"{found['status']}: {found['path']}"


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes >= 1e5 else f"{num_bytes / 1e3:.1f} kB"
