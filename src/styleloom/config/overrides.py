"""Typed overrides of an experiment: `field=value`, as the command line takes them."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from styleloom.config.annotations import field_types, optional
from styleloom.config.experiment import Experiment
from styleloom.config.schedules import ByResolution
from styleloom.config.serialize import (
    Json,
    flatten,
    from_json,
    invalid,
    is_group,
    may_change,
    resolution_key,
    to_json,
)
from styleloom.errors import QUOTE_CHARACTERS, UserError, nearest, quoted, shown

SHARED = ("resolution", "channels", "label_dim", "grid")
"""Fields that both networks have; an override without a network's name sets them in both."""

ROLES = ("generator", "discriminator")

_OTHER_NAMES = {
    "learning_rate": "lr glr dlr g_lr d_lr",
    "d_regularizer.gamma": "r1 r1_gamma gp gp_weight lambda_gp",
    "d_regularizer.every": "d_reg_every d_reg_interval",
    "g_regularizer.every": "g_reg_every g_reg_interval",
    "g_regularizer.weight": "pl_weight path_regularize",
    "g_regularizer.batch_shrink": "pl_batch_shrink",
    "g_regularizer.decay": "pl_decay",
    "augment.target": "ada_target",
    "augment.kimg": "ada_kimg ada_length",
    "augment.every": "ada_interval ada_every",
    "data.mirror": "mirrors flip hflip xflip",
    "label_dim": "cond conditional num_classes n_classes label_size c_dim",
    "resolution": "res size img_size image_size img_resolution",
    "channels": "img_channels num_channels",
    "generator.z_dim": "latent latent_dim latent_size",
    "generator.w_dim": "dlatent_size style_dim",
    "generator.mapping.layers": "n_mlp map_depth num_layers",
    "generator.mapping.lr_multiplier": "lr_mlp lrmul",
    "generator.features.base": "fmap_base channel_base cbase",
    "generator.features.max": "fmap_max channel_max cmax",
    "discriminator.minibatch_std.group_size": "mbstd_group_size mbstd_group",
    "style_mixing": "mixing mixing_prob style_mixing_prob",
    "ema_half_life_kimg": "ema ema_kimg",
    "run.snapshot_every": "snap snapshot_ticks save_every",
    "run.tick_kimg": "tick kimg_per_tick",
    "adam.epsilon": "eps",
    "optimizer": "opt",
}

OTHER_NAMES = {name: field for field, names in _OTHER_NAMES.items() for name in names.split()}
"""What other codes call some of the fields, and the field: for the hints of error messages."""


def apply_overrides(experiment: Experiment, overrides: Sequence[str]) -> Experiment:
    """`experiment` with each `field=value` of `overrides` set, the later ones winning.

    Fields are dotted (`generator.features.base=8192`), values are read as the field's type: numbers, one of
    a field's choices, `none`, or items separated by commas (`generator.resample_filter=1,2,1`). A field of
    type `ByResolution` takes one number for all resolutions (`batch=64`), or that of one resolution
    (`batch.at.64=16`); one of type `Number` takes a constant or knots (`learning_rate_factor=0:0,40:1`).
    `resolution`, `channels`, `label_dim` and `grid` at the top set both networks. The experiment is checked
    once, when all are set.

    Raises:
        UserError: an override is malformed, names no field, or the value is not valid.
    """
    tree = to_json(experiment)
    for override in overrides:
        path, equals, text = override.partition("=")
        path = path.strip()
        if not equals or not path:
            raise UserError(f"override {quoted(override)}: write FIELD=VALUE, for example batch=64")
        for target in [f"{role}.{path}" for role in ROLES] if path in SHARED else [path]:
            _set(tree, experiment, target, text.strip(), given=path)
    return from_json(tree)


def value_text(value: Any) -> str:
    """A field's value as overrides write it: `1,3,3,1`, `none`, `true`."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def field_names(experiment: Experiment) -> list[str]:
    """Every dotted name that an override of `experiment` may set."""
    settable = [name for name in flatten(experiment) if not name.endswith(".family")]
    return [*SHARED, *settable, *tables(experiment)]


def tables(config: Any, path: str = "") -> Iterator[str]:
    """The dotted name of every number by resolution in `config`, each with `path` before it."""
    for name in field_types(type(config)):
        value = getattr(config, name)
        if isinstance(value, ByResolution):
            yield f"{path}{name}"
        elif is_group(value):
            yield from tables(value, f"{path}{name}.")


def _set(tree: dict[str, Any], experiment: Experiment, path: str, text: str, given: str) -> None:
    """Set the field `path` of `tree` to what `text` says; errors call it `given`."""
    *parents, last = path.split(".")
    config: Any = experiment
    for depth, name in enumerate(parents):
        if name not in field_types(type(config)):
            raise _unknown(experiment, path, config, parents[:depth])
        if isinstance(config, ByResolution):
            _set_row(tree, parents[:depth], name, ".".join((*parents[depth + 1 :], last)), text)
            return
        inner = getattr(config, name)
        if not is_group(inner) and not isinstance(inner, ByResolution):
            raise UserError(f"{shown(path)}: {'.'.join(parents[: depth + 1])} is a value and has no fields")
        config, tree = inner, tree[name]
    annotations = field_types(type(config))
    if last not in annotations:
        raise _unknown(experiment, path, config, parents)
    if isinstance(config, ByResolution) and last == "at":
        raise UserError(f"{shown(path)}: name a resolution, for example {shown(path)}.64={text or 16}")
    value = getattr(config, last)
    if is_group(value):
        fields = ", ".join(field_types(type(value)))
        raise UserError(f"{shown(path)}: a group of fields, set them one by one: {fields}")
    tree[last] = parse_field(annotations[last], text, given)


def _set_row(tree: dict[str, Any], table: Sequence[str], name: str, side: str, text: str) -> None:
    """Set one row of a number by resolution; rows stay in order of resolution."""
    path = ".".join((*table, name))
    if name != "at":
        raise UserError(f"{shown(path)}.{side}: {shown(path)} is a number and has no fields")
    rows = {**tree["at"], str(resolution_key(path, side)): parse_field(float, text, f"{path}.{side}")}
    tree["at"] = dict(sorted(rows.items(), key=lambda row: int(row[0])))


def parse_field(annotation: Any, text: str, path: str) -> Json:
    """`text` as JSON for a field of type `annotation`.

    Raises:
        UserError: it is not of that type; the message starts with `path`.
    """
    inner, may_be_none = optional(annotation)
    if may_be_none and text.lower() in ("none", "null"):
        return None
    if inner is ByResolution:
        return {"base": _number(annotation, text, path), "at": {}}
    if may_change(inner) and ":" in text:
        return text
    origin = typing.get_origin(inner)
    if origin is tuple:
        items = [item.strip() for item in text.strip("()[]").split(",") if item.strip()]
        return [parse_field(typing.get_args(inner)[0], item, path) for item in items]
    if origin is Literal:
        return text
    if inner is str:
        return text
    if inner is bool:
        if text.lower() not in ("true", "false"):
            raise invalid(path, text, annotation)
        return text.lower() == "true"
    return _number(annotation, text, path)


def _number(annotation: Any, text: str, path: str) -> int | float:
    """Whole numbers stay whole in fields of either type, so that a batch of 64 prints as 64."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        raise invalid(path, text, annotation) from None
    if optional(annotation)[0] is not int:
        return number
    if not number.is_integer():  # 8.192e3 is whole, infinity is not
        raise invalid(path, text, annotation)
    return int(number)


def _unknown(experiment: Experiment, path: str, level: Any, parents: Sequence[str]) -> UserError:
    """The error for a name that is no field: it suggests the nearest one and lists the fields beside it."""
    names = field_names(experiment)
    last = path.rpartition(".")[2]
    same_last = [name for name in names if name.rpartition(".")[2] == last]
    if path in OTHER_NAMES and OTHER_NAMES[path] in names:
        same_last = [OTHER_NAMES[path]]
    hint = f"did you mean {same_last[0]!r}? " if len(same_last) == 1 else nearest(path, same_last or names)
    if not hint and same_last:
        hint = f"did you mean {' or '.join(map(repr, same_last))}? "
    fields = [*field_types(type(level)), *(() if parents else SHARED)]
    where = ".".join(parents) or "experiment"
    return UserError(
        f"{shown(path, QUOTE_CHARACTERS)}: no such field, {hint}fields of {where}: {', '.join(fields)}"
    )
