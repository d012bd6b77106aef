"""`styleloom push` and `styleloom pull`: models to and from a hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from styleloom import hub
from styleloom.cli.report import print_json, say
from styleloom.cli.sheets import check_free
from styleloom.errors import shown


@dataclass
class Push:
    """Send a model to a hub, with the login that huggingface_hub has."""

    folder: tyro.conf.Positional[Path]
    """What `styleloom export SNAPSHOT FOLDER --to hub` wrote; the snapshot, its description and its card are
    sent, and no other file."""
    address: tyro.conf.Positional[str]
    """hf://owner/name, made if it is not there."""
    private: bool = False
    """Make it private, where it is not there yet."""
    json: bool = False
    """Print one JSON document."""

    def run(self) -> int:
        """Send it; 0."""
        url = hub.push(self.folder, self.address, self.private)
        if self.json:
            print_json({"address": self.address, "url": url})
        else:
            say(f"{shown(self.address)}: {shown(url)}")
        return 0


@dataclass
class Pull:
    """Fetch a model from a hub into a folder. `hf://owner/name` serves as a snapshot as well."""

    address: tyro.conf.Positional[str]
    """hf://owner/name, or hf://owner/name@revision."""
    out: tyro.conf.Positional[Path]
    """The folder."""
    overwrite: bool = False
    """Replace files that are there already."""
    json: bool = False
    """Print one JSON document."""

    def run(self) -> int:
        """Fetch it; 0."""
        check_free("out", [self.out / name for name in hub.FILES], self.overwrite)
        files = hub.pull(self.address, self.out)
        if self.json:
            print_json({"address": self.address, "files": [str(file) for file in files]})
        else:
            say(f"{shown(self.out)}: {', '.join(file.name for file in files)}")
        return 0
