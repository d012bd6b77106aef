"""What to write instead of verbs and flags that other codes have and this one has not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def _by_name(table: Mapping[str, str]) -> dict[str, str]:
    """`table` turned round: from each name of another code to what to write here.

    Args:
        table: from what to write here to the names that other codes have for it, separated by spaces.
    """
    return {name: meant for meant, names in table.items() for name in names.split()}


OTHER_VERBS = _by_name(
    {
        "generate": "sample sampling gen gen-images synthesize inference test",
        "evaluate": "fid kid ppl swd eval metric calc-metrics measure",
        "dataset build": "dataset-tool prepare prepare-data preprocess build",
        "dataset check": "check",
        "train --resume RUN": "resume continue",
        "train": "fit",
        "train --init FILE": "finetune fine-tune transfer",
        "presets": "list preset configs",
        "presets NAME": "show",
        "presets diff A B": "diff",
        "features list": "weights",
        "features fetch": "download fetch",
        "train-classifiers": "classifiers",
        "--help": "help",
        "--version": "version",
    }
)
"""What to write here instead of a verb that other codes have."""

_SNAPSHOT = "the snapshot is the first argument, without a flag"
_KIMG = "--kimg VALUE, in thousands of images"
_DEVICES = "torchrun --nproc-per-node VALUE -m styleloom train ..., with batch and learning rate as they are"
_COUNT = "the number is part of the metric's name: --metrics fid50k"

OTHER_FLAGS = {
    "train": _by_name(
        {
            "--batch VALUE": "batch-size bs minibatch minibatch-size",
            "--micro-batch VALUE": "batch-gpu",
            _KIMG: "epochs epoch iterations iters iter steps num-steps",
            "--precision bf16": "fp16 half amp mixed-precision bf16",
            "--precision fp32": "fp32",
            "--precision tf32": "tf32 allow-tf32",
            _DEVICES: "gpus num-gpus",
            "--device cuda:VALUE": "gpu",
            "--device cpu": "cpu",
            "--device cuda": "cuda",
            "--preset NAME; `styleloom presets` lists them": "cfg config arch model",
            "--out FOLDER": "outdir out-dir output output-dir result-dir run-dir",
            "--data ARCHIVE": "dataset data-dir dataroot path",
            "--resume RUN, or --init FILE for a new run": "checkpoint ckpt resume-from resume-pkl",
            "--init FILE": "pretrained finetune transfer",
            "--freeze d:VALUE": "freezed freeze-d freezeD",
            "--workers VALUE": "num-workers",
            "--mirror on": "mirrors flip hflip xflip",
            "--augment VALUE": "aug",
            "--augment ada": "ada diffaug diffaugment",
            "--augment fixed:VALUE": "aug-p augment-p p",
            "--augment-set VALUE": "augpipe",
            "--set augment.target=VALUE": "target ada-target",
            "--seed VALUE": "random-seed",
            "--minutes VALUE": "max-minutes",
        }
    ),
    "generate": _by_name(
        {
            "--truncation VALUE": "trunc psi truncation-psi",
            "--truncation-layers VALUE": "truncation-cutoff",
            "--seeds VALUE": "seed",
            "--seeds 0-63 makes 64 images": "n num num-images n-sample samples",
            "--grid COLUMNSxROWS": "rows cols nrow",
            "--classes VALUE": "class class-idx",
            "--noise random, fixed or none": "noise-mode",
            "--out FOLDER": "outdir out-dir output output-dir",
            "--batch VALUE": "batch-size",
            "--precision bf16": "fp16",
            "--device cuda:VALUE": "gpu",
            _SNAPSHOT: "network model ckpt checkpoint snapshot",
        }
    ),
    "evaluate": _by_name(
        {
            "--metrics NAMES": "metric",
            _SNAPSHOT: "network model ckpt checkpoint snapshot",
            "what is measured is the first argument, without a flag": "fake",
            "--data IMAGES": "real reals dataset data-dir",
            _COUNT: "num-images num-samples n-sample",
            "--batch VALUE": "batch-size",
            "--out FILE": "output outdir",
            "torchrun --nproc-per-node VALUE -m styleloom evaluate ...": "gpus",
            "--device cuda:VALUE": "gpu",
            "--cache FOLDER": "cache-dir",
        }
    ),
    "dataset build": _by_name(
        {
            "the source is the first argument, without a flag": "source src",
            "the archive is the second argument, without a flag": "dest out output",
            "--resolution VALUE": "size",
            "--resolution VALUE, and --grid for images that are not square": "width height",
            "--crop NAME": "transform",
            "--filter NAME": "resize-filter",
            "--workers VALUE": "num-workers",
            "--overwrite": "force",
        }
    ),
    "train-classifiers": _by_name(
        {
            "--learning-rate VALUE": "lr",
            "--batch VALUE": "batch-size",
            "--out FOLDER": "outdir",
            "--data ARCHIVE": "dataset",
            _KIMG: "epochs",
        }
    ),
}
"""By verb: what to write here instead of a flag that other codes have."""

CHANGES_FIELDS = "train"
"""The verb that takes any field of an experiment by --set."""


def for_verb(name: str) -> str:
    """``"did you mean 'generate'? "`` for a verb that another code has, else nothing."""
    meant = OTHER_VERBS.get(_plain(name))
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
        if name in OTHER_FLAGS.get(verb, {}):
            yield f"instead of {word}: {OTHER_FLAGS[verb][name]}"
        elif name in fields:
            yield f"instead of {word}: " + " or ".join(f"--set {field}=VALUE" for field in fields[name])


def _fields() -> dict[str, list[str]]:
    """Dotted names of fields, by each of their endings (`base`, `features-base`) or other codes' names."""
    from styleloom import presets  # late: a command without mistakes does not wait for them
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
