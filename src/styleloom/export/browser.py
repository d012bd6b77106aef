"""A folder that a browser opens from any static web server: a page, the graphs, and onnxruntime-web.

Nothing is fetched from elsewhere when the page is open. Seeds give the images that the sampler makes of them,
with the noise that is stored with the network.
"""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from styleloom.atomic import write_text
from styleloom.errors import UserError, shown
from styleloom.export.graphs import graphs
from styleloom.export.onnx_file import write_graphs
from styleloom.export.targets import Options
from styleloom.features.weights import user_cache
from styleloom.sampling import Sampler
from styleloom.snapshot import Snapshot

logger = logging.getLogger(__name__)

PAGE = Path(__file__).parent / "page"
"""The files of the page."""

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
"""The npm package that runs the graphs, and the version that the page was tested with."""

RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
"""Its files that the page loads."""

NOTICE = "ONNX Runtime Web, copyright Microsoft Corporation, MIT licence: the npm package onnxruntime-web.\n"

BY_HAND = (
    f"unpack the npm package {PACKAGE} (`npm pack {PACKAGE}@{VERSION}`) and name its folder with --runtime"
)

BANDS = (("coarse", 4, 8), ("middle", 16, 32), ("fine", 64, 1 << 20))
"""Styles that the page mixes, by the sides of their levels, px (StyleGAN section 3.1)."""


def export(snapshot: Snapshot, folder: Path, options: Options) -> dict[str, Any]:
    """Write the folder; what was measured of its graphs.

    Raises UserError where packages or the files of onnxruntime-web are missing, or a graph differs.
    """
    runtime = find_runtime(options.runtime)
    sampler = Sampler.of(snapshot, "cpu", "fp32")
    wanted = [
        graph for graph in graphs(sampler, "fixed") if graph.name != "generator" or sampler.space == "z"
    ]
    found = write_graphs(sampler, wanted, folder, options)
    for file in sorted(PAGE.iterdir()):
        shutil.copyfile(file, folder / file.name)
    place = folder / "ort"
    place.mkdir()
    for name in RUNTIME:
        shutil.copyfile(runtime / name, place / name)
    (place / "NOTICE.txt").write_text(NOTICE, encoding="utf-8")
    (folder / "model.json").write_text(json.dumps(description(sampler)) + "\n", encoding="utf-8")
    return {"half": options.half, "graphs": found, "open": "index.html, from a web server"}


def description(sampler: Sampler) -> dict[str, Any]:
    """What the page has to know of the generator."""
    generator, cfg = sampler.generator, sampler.experiment.generator
    about = {
        "title": sampler.experiment.name,
        "space": sampler.space,
        "z_dim": generator.z_dim,
        "classes": generator.label_dim,
        "size": list(sampler.size),
        "num_ws": generator.num_ws,
        "w_avg": [],
        "truncated": [],
        "mixes": [],
    }
    if sampler.space == "w":
        ws = torch.ones(1, *sampler.latent_shape) + generator.w_avg
        kept = generator.truncate(ws, 0.0) == ws
        about["w_avg"] = generator.w_avg.tolist()
        about["truncated"] = [not row for row in kept[0].all(1).tolist()]
        about["mixes"] = list(_bands(sampler)) if cfg.mixes_styles else []
    return about


def _bands(sampler: Sampler) -> Iterator[dict[str, Any]]:
    """Runs of styles that the page offers to replace."""
    cfg = sampler.experiment.generator
    for name, low, high in BANDS:
        sides = [side for side in cfg.sides if low <= side <= high]
        styles = [style for side in sides for style in cfg.styles_at(side)]
        if styles:
            pixels = f"{sides[0]} px" if len(sides) == 1 else f"{sides[0]} to {sides[-1]} px"
            yield {"name": f"{name}: {pixels}", "from": min(styles), "to": max(styles) + 1}


# ---- onnxruntime-web


def find_runtime(given: Path | None) -> Path:
    """The folder with the files of onnxruntime-web: that of a user, else the one in the cache, filled by npm.

    Raises UserError where there is none, with what to do.
    """
    if given is not None:
        for folder in (given, given / "dist", given / "package" / "dist"):
            if all((folder / name).is_file() for name in RUNTIME):
                return folder
        raise UserError(f"--runtime: {shown(given)} holds no {RUNTIME[0]}; {BY_HAND}")
    cache = user_cache()
    if cache is None:
        raise UserError(f"onnxruntime-web is needed, and no cache folder is known: {BY_HAND}")
    folder = cache / "styleloom" / f"{PACKAGE}-{VERSION}"
    if not all((folder / name).is_file() for name in RUNTIME):
        _fetch(folder)
    return folder


def _fetch(folder: Path) -> None:
    """Fill the cache with what npm gives."""
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(f"onnxruntime-web is not here, nor npm, which would fetch it: {BY_HAND}")
    logger.info(f"fetching {PACKAGE} {VERSION} with npm, once (33 MB)")
    try:
        with tempfile.TemporaryDirectory() as scratch:
            command = [npm, "pack", "--silent", f"{PACKAGE}@{VERSION}"]
            subprocess.run(command, cwd=scratch, check=True, capture_output=True, timeout=600)
            archive = next(Path(scratch).glob("*.tgz"))
            folder.mkdir(parents=True, exist_ok=True)
            with tarfile.open(archive) as package:
                for name in RUNTIME:
                    member = package.extractfile(f"package/dist/{name}")
                    assert member is not None
                    partial = folder / f".{name}.partial"
                    partial.write_bytes(member.read())
                    partial.replace(folder / name)
            write_text(folder / "NOTICE.txt", NOTICE)
    except (OSError, subprocess.SubprocessError, tarfile.TarError, KeyError, StopIteration) as error:
        raise UserError(f"npm could not fetch {PACKAGE} {VERSION}: {BY_HAND}") from error
