"""Configurations as JSON, and the differences between two of them.

The class of every field is read from its annotation, so that a new field needs no line here. `from_json`
checks types and names; each class then checks its own values at construction.
"""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias, overload

from styleloom.config.annotations import field_types, optional
from styleloom.config.checks import one_of, power_of_two
from styleloom.config.experiment import Experiment
from styleloom.config.networks import FAMILIES, DiscriminatorConfig, GeneratorConfig
from styleloom.config.schedules import GRAMMAR, ByImages, ByResolution
from styleloom.errors import UserError, nearest, quoted, shown

Role: TypeAlias = Literal["generator", "discriminator"]


Json: TypeAlias = Any
"""What the json module reads and writes: dict, list, str, int, float, bool, None."""


# ---- to JSON


def to_json(config: Any) -> dict[str, Any]:
    """`config`, any configuration dataclass, as a JSON object; network configurations carry their family."""
    encoded = _encode(config)
    assert isinstance(encoded, dict), f"{type(config).__name__} is not a configuration"
    return encoded


def _encode(value: Any) -> Json:
    if isinstance(value, ByResolution):
        return {"base": value.base, "at": {str(resolution): number for resolution, number in value.at}}
    if isinstance(value, ByImages):
        return str(value)
    if dataclasses.is_dataclass(value):
        fields = {field.name: _encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
        names = [name for name, family in FAMILIES.items() if type(value) in family]
        return {"family": names[0], **fields} if names else fields
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    return value


# ---- from JSON


def from_json(data: Mapping[str, Any]) -> Experiment:
    """The experiment that `to_json` wrote as `data`. A missing field, as in older files, takes its default.

    Raises:
        UserError: a field is unknown, of the wrong type or not valid; the message names it.
    """
    return _decode(Experiment, data, "")


@overload
def network_from_json(data: Mapping[str, Any], role: Literal["generator"]) -> GeneratorConfig: ...


@overload
def network_from_json(data: Mapping[str, Any], role: Literal["discriminator"]) -> DiscriminatorConfig: ...


def network_from_json(data: Mapping[str, Any], role: Role) -> GeneratorConfig | DiscriminatorConfig:
    """The network configuration that `to_json` wrote as `data`, of the class that its family names.

    Raises:
        UserError: as in `from_json`, and for an unknown family.
    """
    return _decode(_network_class(_mapping(data, role), role, None), data, role)


def _decode(annotation: Any, data: Json, path: str, default: Any = None) -> Any:
    """`data` as a value of type `annotation`; `default` is what the field would hold otherwise."""
    inner, may_be_none = optional(annotation)
    if data is None and may_be_none:
        return None
    role = role_of(inner)
    if role is not None:
        inner = _network_class(_mapping(data, path), role, default)
    if inner is ByResolution:
        return _by_resolution(_mapping(data, path), path)
    if may_change(inner):
        return _by_images(data, path) if isinstance(data, str) else _scalar(annotation, float, data, path)
    if isinstance(inner, type) and dataclasses.is_dataclass(inner):
        return _dataclass(inner, _mapping(data, path), path, default)
    origin = typing.get_origin(inner)
    if origin is Literal:
        one_of(path, data, typing.get_args(inner))
        return data
    if origin is tuple:
        if not isinstance(data, (list, tuple)):
            raise invalid(path, data, annotation)
        return tuple(_decode(typing.get_args(inner)[0], item, path) for item in data)
    return _scalar(annotation, inner, data, path)


def _scalar(annotation: Any, inner: Any, data: Json, path: str) -> Json:
    accepted = {bool: (bool,), int: (int,), float: (int, float), str: (str,)}[inner]
    if not isinstance(data, accepted) or (isinstance(data, bool) and inner is not bool):
        raise invalid(path, data, annotation)
    if inner is float and not -sys.float_info.max <= data <= sys.float_info.max:
        raise invalid(path, data, annotation)
    exact = inner is not float or abs(data) <= 2**53
    return data if exact else float(data)  # torch and numpy cannot compute with longer whole numbers


def _dataclass(cls: type, data: Mapping[str, Any], path: str, default: Any) -> Any:
    annotations = field_types(cls)
    known = ("family", *annotations) if role_of(cls) else tuple(annotations)
    for name in data:
        if name not in known:
            raise unknown(f"{path}.{name}".lstrip("."), known)
    values = {}
    for field in dataclasses.fields(cls):
        fallback = getattr(default, field.name) if type(default) is cls else _default(field)
        if field.name in data:
            at = f"{path}.{field.name}".lstrip(".")
            values[field.name] = _decode(annotations[field.name], data[field.name], at, fallback)
        elif fallback is dataclasses.MISSING:
            raise UserError(
                f"{shown(path)}.{field.name}: missing, it must be {describe_type(annotations[field.name])}"
            )
        else:
            values[field.name] = fallback
    try:
        return cls(**values)
    except UserError as error:
        raise UserError(_qualified(str(error), path, annotations)) from error


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _qualified(message: str, path: str, names: Mapping[str, Any]) -> str:
    """`message` of a class's own check, with the full name of the field, which the class does not know."""
    named, colon, rest = message.partition(": ")
    name = named.rpartition(".")[2]
    return f"{path}.{name}{colon}{rest}" if path and name in names else message


def _by_resolution(data: Mapping[str, Any], path: str) -> ByResolution:
    for name in data:
        if name not in ("base", "at"):
            raise unknown(f"{path}.{name}", ("base", "at"))
    if "base" not in data:
        raise UserError(f"{shown(path)}.base: missing, it must be a number")
    base = _decode(float, data["base"], f"{path}.base")
    table = _mapping(data.get("at", {}), f"{path}.at")
    return ByResolution(base, tuple(_entry(f"{path}.at", side, number) for side, number in table.items()))


def _entry(path: str, side: str, number: Json) -> tuple[int, float]:
    return resolution_key(path, side), _decode(float, number, f"{path}.{side}")


def resolution_key(path: str, text: str) -> int:
    """`text`, a key of the table at `path`, as a resolution, px. Raises UserError unless that is valid."""
    if not str(text).isdecimal():
        raise UserError(
            f"{shown(path)}.{text}: {quoted(text)} is not a resolution; valid: powers of two of at least 4"
        )
    power_of_two(f"{path}.{text}", int(text), 4)
    return int(text)


def _by_images(text: str, path: str) -> ByImages:
    try:
        return ByImages.parse(text)
    except UserError as error:
        raise UserError(f"{shown(path)}: {error}") from error


def _network_class(data: Mapping[str, Any], role: Role, default: Any) -> type:
    """The class for `data`'s family; without one, as in a partial file, that of the default."""
    if "family" not in data and default is not None:
        return type(default)
    if "family" not in data:
        raise UserError(f"{role}.family: missing, choose from {', '.join(FAMILIES)}")
    one_of(f"{role}.family", data["family"], tuple(FAMILIES))
    return getattr(FAMILIES[data["family"]], role)


def _mapping(data: Json, path: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise UserError(
            f"{path or 'experiment'}: {quoted(data)} is not valid, it must be an object with fields"
        )
    return data


# ---- annotations


def may_change(annotation: Any) -> bool:
    """Whether a field of type `annotation` takes a number by images seen as well as a constant."""
    return ByImages in typing.get_args(annotation)


def is_group(value: Any) -> bool:
    """Whether `value`, of a field, is a group of fields rather than a value."""
    return dataclasses.is_dataclass(value) and not isinstance(value, (ByResolution, ByImages))


def role_of(annotation: Any) -> Role | None:
    """Whether `annotation` is a generator's or a discriminator's configuration, or neither."""
    members = set(typing.get_args(annotation) or (annotation,))
    if members <= {family.generator for family in FAMILIES.values()}:
        return "generator"
    if members <= {family.discriminator for family in FAMILIES.values()}:
        return "discriminator"
    return None


def describe_type(annotation: Any) -> str:
    """What a value of type `annotation` must be, in words."""
    inner, may_be_none = optional(annotation)
    suffix = " or none" if may_be_none else ""
    if typing.get_origin(inner) is Literal:
        return f"one of {', '.join(map(str, typing.get_args(inner)))}{suffix}"
    if typing.get_origin(inner) is tuple:
        return f"a list, each item {describe_type(typing.get_args(inner)[0])}{suffix}"
    if inner is ByResolution:
        return "a number"
    if may_change(inner):
        return f"a finite number, or by images seen {GRAMMAR}"
    if dataclasses.is_dataclass(inner) or role_of(inner):
        return "an object with fields"
    words = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text"}
    return words[inner] + suffix


def invalid(path: str, value: Any, annotation: Any) -> UserError:
    """The error for a value of the wrong type."""
    return UserError(f"{shown(path)}: {quoted(value)} is not valid, it must be {describe_type(annotation)}")


def unknown(path: str, fields: Sequence[str]) -> UserError:
    """The error for a name that is not among the fields of its parent."""
    parent, _, name = path.rpartition(".")
    where = parent or "experiment"
    return UserError(
        f"{shown(path)}: no such field, {nearest(name, fields)}fields of {where}: {', '.join(fields)}"
    )


# ---- differences


def flatten(config: Any) -> dict[str, Any]:
    """Every value of `config` under its dotted name, in order: `generator.features.base`, `batch.at.64`."""
    return dict(_leaves(to_json(config), ""))


def _leaves(tree: Json, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from _leaves(value, f"{path}.{name}".lstrip("."))
    else:
        yield path, tuple(tree) if isinstance(tree, list) else tree


def differences(a: Any, b: Any) -> dict[str, tuple[Any, Any]]:
    """The fields in which two configurations differ, by dotted name: (value in `a`, value in `b`).

    Where only one of them has a field, because their networks are of different families or their tables by
    resolution have different rows, the other's value is None.
    """
    ours, theirs = flatten(a), flatten(b)
    pairs = {name: (ours.get(name), theirs.get(name)) for name in (*ours, *theirs)}
    return {name: (old, new) for name, (old, new) in pairs.items() if old != new}
