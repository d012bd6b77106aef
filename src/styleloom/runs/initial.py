"""What a training may begin with in place of fresh weights: the networks of a snapshot, a state or a run.

All networks are taken over as they are, so that the first sample grid is that of the source. Optimizers,
random generators, the order of the images and the count of images begin anew: it is another training.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleloom.config import Experiment, from_json
from styleloom.config.growth import unfinished_growth
from styleloom.config.overrides import SHARED, value_text
from styleloom.config.serialize import differences
from styleloom.errors import UserError, shell_word, shown
from styleloom.file_hash import sha256_of
from styleloom.foreign.container import looks_foreign
from styleloom.foreign.file import AVERAGE, D, ForeignFile, G
from styleloom.foreign.reading import read_foreign, take_discriminator
from styleloom.networks.assembly import DiscriminatorTrunk
from styleloom.networks.build import build_discriminator, build_generator
from styleloom.runs.directory import RunDirectory
from styleloom.runs.records import STATE_FORMAT, state_document
from styleloom.snapshot import (
    Snapshot,
    check_contents,
    check_network,
    foreign_snapshot,
    load_weights,
    read_snapshot,
)
from styleloom.snapshot_names import find_snapshot, is_run
from styleloom.tensor_file import check_finite, contents_of, read_tensors
from styleloom.training.state import checked_counters, part_of
from styleloom.training.trainer import Trainer

logger = logging.getLogger(__name__)

FREE = ("generator.w_avg_beta", "discriminator.minibatch_std.group_size")
"""Fields of networks that may differ from the source's: they matter in training alone."""

SURGERY_FLAGS = {"resolution": "resolution", "channels": "channels", "label_dim": "labels", "grid": "grid"}
"""Flags of `styleloom convert` by the fields of `SHARED` that they change."""

SET = {AVERAGE: "GEN_SHADOW", G: "GEN", D: "DIS"}
"""What BMSG-GAN calls the files of its networks."""

FILE_OF_A_SET = re.compile(r"(.*GAN_)(GEN_SHADOW|GEN|DIS)(_\d+\.pth)")

ROLES = {"ema": "generator", "g": "generator", "d": "discriminator"}
"""Networks by the names that states have for them, and whose configuration each has."""


@dataclass(frozen=True)
class Source:
    """Networks to begin with.

    Args:
        name: what the user called it.
        path: the file.
        sha256: of the file.
        experiment: that trained them.
        networks: weights by the names of `ROLES`; "ema" is always there.
        info: what the file records: images_seen, origin, licence and so on.
        path_mean: running mean of the path length, where it is recorded.
    """

    name: str
    path: Path | None
    sha256: str | None
    experiment: Experiment
    networks: Mapping[str, Mapping[str, Tensor]]
    info: Mapping[str, Any]
    path_mean: float | None = None

    def record(self) -> dict[str, Any]:
        """Where the weights are from, as JSON: the run and its snapshots keep it."""
        kept = {key: self.info[key] for key in ("images_seen", "origin", "init") if key in self.info}
        name = None if self.path is None else self.path.name
        return {"file": name, "sha256": self.sha256, "networks": list(self.networks), **kept}


def read_source(given: Path | str) -> Source:
    """The networks of a run (its latest state), of a state, or of whatever `read_snapshot` reads.

    Raises UserError where there are none, or the file is damaged.
    """
    path = Path(given)
    if is_run(path):
        state = RunDirectory(path).healthy_state()
        if state is not None:
            logger.info(f"{shown(path)} is a run: its {shown(state.name)} is taken")
            return _of_state(str(given), state)
    elif path.suffix == ".safetensors" and state_document(path):
        return _of_state(str(given), path)
    return of_snapshot(read_networks(given), str(given))


def read_networks(given: Path | str) -> Snapshot:
    """As `read_snapshot`, with all networks of a file of another code, or of the files that it belongs to.

    A discriminator that we do not have stays out, which is logged.
    """
    path = find_snapshot(given)
    if not looks_foreign(path):
        return read_snapshot(path)
    files = _files_of(path)
    average = files.get(AVERAGE) or files.get(G)
    if average is None:
        return foreign_snapshot(read_foreign(path))  # which says what is missing
    snapshot = foreign_snapshot(average)
    if G in files:
        alone = G not in files[G].inside.networks  # the only network of its file
        snapshot = replace(snapshot, raw=foreign_snapshot(files[G], None if alone else "raw").generator)
    return _with_discriminator(snapshot, files[D]) if D in files else snapshot


def _files_of(path: Path) -> dict[str, ForeignFile]:
    """By the role of a network, the file that holds it: those of BMSG-GAN are one each, side by side."""
    found = FILE_OF_A_SET.fullmatch(path.name)
    if found is None:
        file = read_foreign(path)
        return dict.fromkeys(file.inside.networks, file)
    names = {role: path.with_name(f"{found[1]}{word}{found[3]}") for role, word in SET.items()}
    return {role: read_foreign(file) for role, file in names.items() if file.is_file()}


def _with_discriminator(snapshot: Snapshot, file: ForeignFile) -> Snapshot:
    """The snapshot with the discriminator of `file`, and its configuration."""
    try:
        d, network = take_discriminator(file), file.inside.networks[D]
        config: Any = network.translate(network).config
        experiment = replace(snapshot.experiment, discriminator=config)
    except UserError as error:
        logger.warning(f"the discriminator is left out: {error}")
        return snapshot
    assert isinstance(d, DiscriminatorTrunk)
    return replace(snapshot, discriminator=d, experiment=experiment)


def of_snapshot(snapshot: Snapshot, name: str) -> Source:
    """The networks of a snapshot in memory."""
    found = {"ema": snapshot.generator, "g": snapshot.raw, "d": snapshot.discriminator}
    networks = {key: network.state_dict() for key, network in found.items() if network is not None}
    mean = snapshot.info.get("path_mean")
    mean = float(mean) if isinstance(mean, (int, float)) else None
    experiment, info = snapshot.experiment, snapshot.info
    return Source(name, snapshot.path, snapshot.sha256, experiment, networks, info, mean)


def _of_state(name: str, file: Path) -> Source:
    tensors, document = read_tensors(file, STATE_FORMAT)
    check_finite(tensors, file)
    seen = checked_counters(document, shown(file))["images_seen"]
    mean = tensors.get("path_mean")
    try:
        experiment = from_json(document.get("experiment"))  # type: ignore[arg-type]  # checked there
    except UserError as error:
        raise UserError(f"{shown(file)}: its experiment cannot be read ({error})") from error
    networks = {key: part_of(tensors, key) for key in ROLES}
    for key in ("ema", "g"):
        check_network(build_generator, experiment.generator, contents_of(networks[key]), file)
    check_network(build_discriminator, experiment.discriminator, contents_of(networks["d"]), file)
    info = {"images_seen": seen} | ({"init": document["init"]} if document.get("init") else {})
    single = None if mean is None or mean.numel() != 1 else float(mean)
    return Source(name, file, sha256_of(file), experiment, networks, info, single)


# ---- the experiment


def fit_to(source: Source, preset: Experiment | None = None) -> Experiment:
    """The source's experiment, with nothing frozen and "auto" precision; or `preset` with its networks."""
    if preset is None:
        return replace(source.experiment, precision="auto", freeze=())
    networks = source.experiment
    return replace(preset, generator=networks.generator, discriminator=networks.discriminator)


def continue_growth(experiment: Experiment, source: Source) -> Experiment:
    """`experiment` growing from where the source stands: not at all where that has its full size.

    A source in the middle of a fade continues with its new level fully there, which is logged.
    """
    if experiment.growth.mode == "none":
        return experiment
    seen = source.info.get("images_seen")
    at = None if seen is None else unfinished_growth(source.experiment, seen)
    if at is None:
        return replace(experiment, growth=replace(experiment.growth, mode="none"))
    if at.alpha < 1:
        logger.warning(
            f"{shown(source.name)} is fading in its level of {4 << at.level} px ({at.alpha:.0%}); it "
            "continues with that level fully there, so that first pictures differ from its last"
        )
    return replace(experiment, growth=replace(experiment.growth, initial_resolution=4 << at.level))


def check_fit(experiment: Experiment, source: Source, flag: str = "--init") -> None:
    """Raise UserError unless the experiment's networks are the source's; it names what to set instead."""
    roles = dict.fromkeys(ROLES[key] for key in source.networks)
    wrong = {
        _shared(f"{role}.{name}"): pair
        for role in roles
        for name, pair in differences(getattr(experiment, role), getattr(source.experiment, role)).items()
        if f"{role}.{name}" not in FREE
    }
    if not wrong:
        return
    fit = f"--fit-to {shell_word(source.name)}"
    what = "; ".join(
        f"{name} is {value_text(old)}, there {value_text(new)}" for name, (old, new) in wrong.items()
    )
    start = f"{flag} {shown(source.name)}: has other networks than the experiment: {what}. "
    if any(name.endswith(".family") for name in wrong):
        raise UserError(f"{start}To train such networks add: {fit}")
    sets = " ".join(
        f"--set {shell_word(f'{name}={value_text(value)}')}" for name, (_, value) in wrong.items()
    )
    whole = "" if wrong.keys() <= SURGERY_FLAGS.keys() else f"; or, for all of it: {fit}"
    shape = [
        f"--{SURGERY_FLAGS[name]} {value_text(old)}" for name, (old, _) in wrong.items() if name in SHARED
    ]
    convert = f"styleloom convert {shell_word(source.name)} OUT.safetensors --keep full {' '.join(shape)}"
    advice = f". To change its networks instead: {convert}" if shape else ""
    raise UserError(f"{start}To fit the experiment to the file add: {sets}{whole}{advice}")


def _shared(name: str) -> str:
    """The name that sets a field in both networks, where there is one."""
    last = name.rpartition(".")[2]
    return last if last in SHARED else name


# ---- the weights


def take_over(trainer: Trainer, source: Source) -> None:
    """Give the trainer, which has made no step, the source's networks.

    Without the generator in training its average takes its place, without a discriminator there is a fresh
    one. Raises UserError, before anything has changed, where the networks are others.
    """
    check_fit(trainer.experiment, source)
    given = {"g": source.networks["ema"], **source.networks}
    targets = {key: network for key, network in trainer.networks().items() if key in given}
    for key, network in targets.items():
        where = f"{shown(source.name)}, {key}"
        check_contents(contents_of(network.state_dict()), contents_of(given[key]), where)
    for key, network in targets.items():
        load_weights(network, given[key], f"{shown(source.name)}, {key}")
    if source.path_mean is not None:
        trainer.path_mean = torch.full_like(trainer.path_mean, source.path_mean)
    trainer.init = source.record()


def described(source: Source) -> list[str]:
    """What a training takes over from `source`, and what is new in it."""
    seen = source.info.get("images_seen")
    after = "" if not seen else f", after {seen / 1000:g} kimg"
    taken = ["average of the generator with its w_avg and noise maps"]
    new = ["optimizers' moments, order of images, count of images"]
    (taken if "g" in source.networks else new).append(
        "generator in training" if "g" in source.networks else "generator in training: a copy of the average"
    )
    (taken if "d" in source.networks else new).append(
        "discriminator" if "d" in source.networks else "discriminator: fresh weights"
    )
    (taken if source.path_mean is not None else new).append("running mean of the path length")
    name = shown(source.name if source.path is None else source.path)
    return [f"taken over from {name}{after}: {'; '.join(taken)}", f"new: {'; '.join(new)}"]
