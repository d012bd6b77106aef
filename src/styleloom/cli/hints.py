"""What to write instead of verbs and flags that other codes have and this one has not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

VERBS: Mapping[str, str] = {
    "sample": "generate",
    "sampling": "generate",
    "gen": "generate",
    "gen-images": "generate",
    "synthesize": "generate",
    "inference": "generate",
    "test": "generate",
    "fid": "evaluate",
    "kid": "evaluate",
    "ppl": "evaluate",
    "swd": "evaluate",
    "eval": "evaluate",
    "metric": "evaluate",
    "calc-metrics": "evaluate",
    "measure": "evaluate",
    "dataset-tool": "dataset build",
    "prepare": "dataset build",
    "prepare-data": "dataset build",
    "preprocess": "dataset build",
    "convert": "dataset build",
    "build": "dataset build",
    "check": "dataset check",
    "resume": "train --resume RUN",
    "continue": "train --resume RUN",
    "fit": "train",
    "finetune": "train",
    "list": "presets",
    "preset": "presets",
    "configs": "presets",
    "show": "presets NAME",
    "diff": "presets diff A B",
    "weights": "features list",
    "download": "features fetch",
    "fetch": "features fetch",
    "classifiers": "train-classifiers",
    "help": "--help",
    "version": "--version",
}
"""Verb of other codes to what does it here."""

_SNAPSHOT = "the snapshot is the first argument, without a flag"
_NO_AUGMENTATION = "nothing, the discriminator sees images as they are; --set data.mirror=horizontal flips"
_KIMG = "--kimg VALUE, in thousands of images"
_COUNT = "the number is part of the metric's name: --metrics fid50k"

FLAGS: Mapping[str, Mapping[str, str]] = {
    "train": {
        "batch-size": "--batch VALUE",
        "bs": "--batch VALUE",
        "minibatch": "--batch VALUE",
        "minibatch-size": "--batch VALUE",
        "batch-gpu": "--micro-batch VALUE",
        "epochs": _KIMG,
        "epoch": _KIMG,
        "iterations": _KIMG,
        "iters": _KIMG,
        "iter": _KIMG,
        "steps": _KIMG,
        "num-steps": _KIMG,
        "fp16": "--precision bf16",
        "half": "--precision bf16",
        "amp": "--precision bf16",
        "mixed-precision": "--precision bf16",
        "bf16": "--precision bf16",
        "fp32": "--precision fp32",
        "tf32": "--precision tf32",
        "allow-tf32": "--precision tf32",
        "gpus": "one device trains; --device-table VALUE takes batch and learning rate for so many",
        "num-gpus": "one device trains; --device-table VALUE takes batch and learning rate for so many",
        "gpu": "--device cuda:VALUE",
        "cpu": "--device cpu",
        "cuda": "--device cuda",
        "cfg": "--preset NAME; `styleloom presets` lists them",
        "config": "--preset NAME; `styleloom presets` lists them",
        "arch": "--preset NAME; `styleloom presets` lists them",
        "model": "--preset NAME; `styleloom presets` lists them",
        "outdir": "--out FOLDER",
        "out-dir": "--out FOLDER",
        "output": "--out FOLDER",
        "output-dir": "--out FOLDER",
        "result-dir": "--out FOLDER",
        "run-dir": "--out FOLDER",
        "dataset": "--data ARCHIVE",
        "data-dir": "--data ARCHIVE",
        "dataroot": "--data ARCHIVE",
        "path": "--data ARCHIVE",
        "checkpoint": "--resume RUN",
        "ckpt": "--resume RUN",
        "resume-from": "--resume RUN",
        "resume-pkl": "--resume RUN",
        "num-workers": "--workers VALUE",
        "mirror": "--set data.mirror=horizontal",
        "mirrors": "--set data.mirror=horizontal",
        "flip": "--set data.mirror=horizontal",
        "hflip": "--set data.mirror=horizontal",
        "xflip": "--set data.mirror=horizontal",
        "aug": _NO_AUGMENTATION,
        "augment": _NO_AUGMENTATION,
        "augpipe": _NO_AUGMENTATION,
        "ada": _NO_AUGMENTATION,
        "random-seed": "--seed VALUE",
        "max-minutes": "--minutes VALUE",
    },
    "generate": {
        "trunc": "--truncation VALUE",
        "psi": "--truncation VALUE",
        "truncation-psi": "--truncation VALUE",
        "truncation-cutoff": "--truncation-layers VALUE",
        "seed": "--seeds VALUE",
        "n": "--seeds 0-63 makes 64 images",
        "num": "--seeds 0-63 makes 64 images",
        "num-images": "--seeds 0-63 makes 64 images",
        "n-sample": "--seeds 0-63 makes 64 images",
        "samples": "--seeds 0-63 makes 64 images",
        "rows": "--grid COLUMNSxROWS",
        "cols": "--grid COLUMNSxROWS",
        "nrow": "--grid COLUMNSxROWS",
        "class": "--classes VALUE",
        "class-idx": "--classes VALUE",
        "noise-mode": "--noise random, fixed or none",
        "outdir": "--out FOLDER",
        "out-dir": "--out FOLDER",
        "output": "--out FOLDER",
        "output-dir": "--out FOLDER",
        "batch-size": "--batch VALUE",
        "fp16": "--precision bf16",
        "gpu": "--device cuda:VALUE",
        "network": _SNAPSHOT,
        "model": _SNAPSHOT,
        "ckpt": _SNAPSHOT,
        "checkpoint": _SNAPSHOT,
        "snapshot": _SNAPSHOT,
    },
    "evaluate": {
        "metric": "--metrics NAMES",
        "network": _SNAPSHOT,
        "model": _SNAPSHOT,
        "ckpt": _SNAPSHOT,
        "checkpoint": _SNAPSHOT,
        "snapshot": _SNAPSHOT,
        "fake": "what is measured is the first argument, without a flag",
        "real": "--data IMAGES",
        "reals": "--data IMAGES",
        "dataset": "--data IMAGES",
        "data-dir": "--data IMAGES",
        "num-images": _COUNT,
        "num-samples": _COUNT,
        "n-sample": _COUNT,
        "batch-size": "--batch VALUE",
        "output": "--out FILE",
        "outdir": "--out FILE",
        "gpus": "torchrun --nproc-per-node VALUE -m styleloom evaluate ...",
        "gpu": "--device cuda:VALUE",
        "cache-dir": "--cache FOLDER",
    },
    "dataset build": {
        "source": "the source is the first argument, without a flag",
        "src": "the source is the first argument, without a flag",
        "dest": "the archive is the second argument, without a flag",
        "out": "the archive is the second argument, without a flag",
        "output": "the archive is the second argument, without a flag",
        "size": "--resolution VALUE",
        "width": "--resolution VALUE, and --grid for images that are not square",
        "height": "--resolution VALUE, and --grid for images that are not square",
        "transform": "--crop NAME",
        "resize-filter": "--filter NAME",
        "num-workers": "--workers VALUE",
        "force": "--overwrite",
    },
    "train-classifiers": {
        "lr": "--learning-rate VALUE",
        "batch-size": "--batch VALUE",
        "outdir": "--out FOLDER",
        "dataset": "--data ARCHIVE",
        "epochs": _KIMG,
    },
}
"""By verb: flag of other codes to what to write here."""

CHANGES_FIELDS = "train"
"""The verb that takes any field of an experiment by --set."""


def for_verb(name: str) -> str:
    """``"did you mean 'generate'? "`` for a verb that another code has, else nothing."""
    meant = VERBS.get(_plain(name))
    return f"did you mean {meant!r}? " if meant else ""


def for_flags(verb: str, command: type[Any], argv: Sequence[str]) -> Iterator[str]:
    """One line for each word of `argv` that is no flag of `verb` and whose meaning is known.

    Args:
        command: the dataclass of the verb.
        argv: what was given to it.
    """
    own = {_plain(field.name) for field in dataclasses.fields(command)}
    fields = _fields() if verb == CHANGES_FIELDS else {}
    for word in dict.fromkeys(word.partition("=")[0] for word in argv if word.startswith("-")):
        name = _plain(word)
        if name in own:
            continue
        if name in FLAGS.get(verb, {}):
            yield f"instead of {word}: {FLAGS[verb][name]}"
        elif name in fields:
            yield f"instead of {word}: " + " or ".join(f"--set {field}=VALUE" for field in fields[name])


def _fields() -> dict[str, list[str]]:
    """The end of every field's dotted name, and other codes' names, to the whole names."""
    from styleloom import presets  # late: who makes no mistake need not wait for them
    from styleloom.config.overrides import OTHER_NAMES, field_names

    found: dict[str, list[str]] = {}
    for name in (name for name in field_names(presets.get(presets.DEFAULT)) if ".at." not in name):
        parts = name.split(".")
        for start in range(len(parts)):
            found.setdefault(_plain(".".join(parts[start:])), []).append(name)
    return found | {_plain(other): [field] for other, field in OTHER_NAMES.items()}


def _plain(word: str) -> str:
    """A word as the tables write it: `--R1_gamma` as `r1-gamma`."""
    return word.lstrip("-").lower().replace("_", "-").replace(".", "-")
