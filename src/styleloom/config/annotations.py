"""What the annotations of dataclasses say."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any, Union


@functools.cache
def field_types(cls: Any) -> Mapping[str, Any]:
    """The annotation of every field of the dataclass `cls`, in order."""
    hints = typing.get_type_hints(cls)
    return types.MappingProxyType({field.name: hints[field.name] for field in dataclasses.fields(cls)})


def optional(annotation: Any) -> tuple[Any, bool]:
    """`annotation` without None, and whether None was allowed."""
    if typing.get_origin(annotation) not in (Union, types.UnionType):
        return annotation, False
    members = typing.get_args(annotation)
    rest = tuple(member for member in members if member is not type(None))
    return (rest[0] if len(rest) == 1 else Union[rest]), len(rest) < len(members)  # noqa: UP007
