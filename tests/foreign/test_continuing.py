"""Trainings that begin with files of other codes; and what a frozen discriminator of theirs looks like."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from styleloom.errors import UserError
from styleloom.networks.build import build_discriminator
from styleloom.runs.begin import start
from styleloom.runs.initial import Source, check_fit, continue_growth, fit_to, read_source
from styleloom.runs.pictures import samples
from styleloom.snapshot import read_snapshot
from styleloom.training.freezing import layers_from_image
from tiny import make_archive, opened

from .golden_weights import FOLDER, needs_golden, recorded

pytestmark = needs_golden

THEIRS = {"fromrgb": "from_rgb", "conv0": "conv", "conv1": "conv_down", "skip": "skip"}
"""Layers of a block as the authors' PyTorch code calls them."""


@functools.cache
def readable() -> dict[str, Source]:
    """Every file that is read, by name."""
    found = {}
    for name in recorded():
        try:
            found[name] = read_source(FOLDER / name)
        except UserError:  # tests of the reader say which these may be
            continue
    return found


def test_every_file_fits_the_experiment_that_is_fitted_to_it(caplog: pytest.LogCaptureFixture) -> None:
    sources = readable()
    assert sources
    for source in sources.values():
        check_fit(continue_growth(fit_to(source), source), source)
    assert "the discriminator is left out" not in caplog.text


def test_a_training_of_each_format_begins_with_its_pictures(tmp_path: Path) -> None:
    of_format: dict[str, Source] = {}
    for source in readable().values():
        g = source.experiment.generator
        if g.label_dim == 0 and g.grid == (4, 4) and g.resolution <= 16 and g.pyramid_sides is None:
            of_format.setdefault(source.experiment.name, source)
    assert of_format
    for source in of_format.values():
        experiment = continue_growth(fit_to(source), source)
        number = experiment.batch(experiment.resolution)
        experiment = replace(experiment, precision="fp32", micro_batch=0)
        data = make_archive(tmp_path, int(number), experiment.resolution, experiment.generator.channels)
        assert source.path is not None
        out = tmp_path / source.path.stem
        trainer, _ = start(out, experiment, opened(data), "cpu", source=source)
        before = read_snapshot(source.path)
        theirs = samples(before.generator, before.experiment, 2, growth=trainer.growth)
        assert torch.equal(samples(trainer.ema, trainer.experiment, 2, growth=trainer.growth), theirs)
        assert trainer.init is not None
        assert trainer.init["origin"]["format"] == experiment.name
        trainer.step()
        trainer.close()


def test_frozen_layers_count_as_in_the_authors_files() -> None:
    documents = [json.loads(path.read_text()) for path in FOLDER.glob("*.json")]
    for document in documents:
        settings = document.get("D_init_kwargs") or {}
        count = (settings.get("block_kwargs") or {}).get("freeze_layers", 0)
        if not count:
            continue
        buffers = {
            name.rpartition(".")[0]
            for name, variable in document["variables"]["D"].items()
            if variable["kind"] == "buffer" and name.endswith(".weight")
        }
        source = read_source(FOLDER / document["file"])
        first = list(layers_from_image(build_discriminator(source.experiment.discriminator)))[:count]
        top = settings["img_resolution"].bit_length() - 1
        ours = set()
        for name in buffers:
            block, layer = name.split(".")
            ours.add(f"blocks.{top - (int(block[1:]).bit_length() - 1)}.{THEIRS[layer]}")
        assert set(first) == ours
