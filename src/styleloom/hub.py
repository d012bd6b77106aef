"""Models on a hub, by address: `hf://owner/name`, or `hf://owner/name@revision`.

`huggingface_hub` (an extra) fetches and sends them, with the settings and the login that it has. What is
fetched is a snapshot, its description and its card, and no other file; reading a snapshot executes nothing.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from styleloom.errors import UserError, quoted, shown

PREFIX = "hf://"

MODEL, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
FILES = (MODEL, CONFIG, CARD)
"""What a model's folder holds."""

INSTALL = "models on a hub need huggingface_hub, which is not installed: pip install 'styleloom[hub]'"

_ADDRESS = re.compile(r"(?:hf://)?([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")


def is_address(given: object) -> bool:
    """Whether a user means a model on a hub."""
    return str(given).startswith(PREFIX)


def parsed(address: str) -> tuple[str, str | None]:
    """Owner/name, and the revision: a branch, tag or commit, where one is named; with or without hf://."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise UserError(
            f"{quoted(address)}: no address of a model; hf://owner/name or hf://owner/name@revision"
        )
    return match[1], match[2]


def fetched(address: str) -> Path:
    """The snapshot at an address, in the cache of huggingface_hub. Raises UserError where there is none."""
    repository, revision = parsed(address)
    return Path(_attempt(address, "fetched", "hf_hub_download", repository, MODEL, revision=revision))


def pull(address: str, folder: Path) -> list[Path]:
    """Fetch a model's files into `folder`; those that it has. Raises UserError as `fetched` does."""
    repository, revision = parsed(address)
    there = set(_attempt(address, "fetched", "list_repo_files", repository, revision=revision))
    if MODEL not in there:
        raise UserError(f"{shown(address)}: holds no {MODEL}, so it is no model of styleloom")
    wanted = [name for name in FILES if name in there]
    for name in wanted:
        _attempt(address, "fetched", "hf_hub_download", repository, name, revision=revision, local_dir=folder)
    return [folder / name for name in wanted]


def push(folder: Path, address: str, private: bool = False) -> str:
    """Send a model's folder, of which `FILES` alone are sent; the web address of what was made there.

    Raises UserError for a folder without them, and where the hub refuses.
    """
    repository, revision = parsed(address)
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"{shown(folder)}: holds no {missing[0]}; `styleloom export SNAPSHOT FOLDER --to hub` makes a "
            "folder to send"
        )
    try:
        from huggingface_hub import CommitOperationAdd
    except ImportError as error:
        raise UserError(INSTALL) from error
    _attempt(address, "sent", "create_repo", repository, private=private, exist_ok=True)
    files = [CommitOperationAdd(name, str(folder / name)) for name in FILES]
    message = "Model, description and card"
    done = _attempt(
        address, "sent", "create_commit", repository, files, commit_message=message, revision=revision
    )
    return str(done.commit_url)


def _attempt(address: str, done: str, method: str, *arguments: Any, **options: Any) -> Any:
    """A method of huggingface_hub's client, at the endpoint that the variable HF_ENDPOINT names, if any.

    Raises UserError for everything that goes wrong there: names, rights, the network, the disk.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise UserError(INSTALL) from error
    try:
        return getattr(HfApi(endpoint=os.environ.get("HF_ENDPOINT")), method)(*arguments, **options)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(f"{shown(address)}: cannot be {done}: {shown(reason, 300)}") from error
