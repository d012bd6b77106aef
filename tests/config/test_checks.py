from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import pytest

from styleloom.config import (
    Adam,
    DataOptions,
    Experiment,
    GradientPenalty,
    Growth,
    Mapping,
    PathLength,
    RunOptions,
)
from styleloom.config.annotations import field_types
from styleloom.config.checks import check_choices
from styleloom.config.networks import FAMILIES, FeatureMaps, MinibatchStd
from styleloom.errors import UserError

CLASSES = (
    Adam,
    DataOptions,
    Experiment,
    FeatureMaps,
    GradientPenalty,
    Growth,
    Mapping,
    MinibatchStd,
    PathLength,
    RunOptions,
    *(member for family in FAMILIES.values() for member in family),
)


@dataclass
class Colours:
    one: Literal["red", "blue"] = "red"
    perhaps: Literal["red", "blue"] | None = None
    several: tuple[Literal["red", "blue"], ...] = ()
    number: Literal[1, 2] = 1
    free: str = "green"

    def __post_init__(self) -> None:
        check_choices(self, "colours.")


def test_a_choice_must_be_one_that_its_annotation_lists() -> None:
    Colours("blue", "red", ("red", "blue", "red"), 2, "anything")
    wrong: dict[str, Any] = {"one": "rad", "perhaps": "rad", "several": ("red", "rad"), "number": 3}
    for field, value in wrong.items():
        hint = "did you mean 'red'\\? choose from red, blue" if field != "number" else "choose from 1, 2"
        said = repr("rad") if field != "number" else "3"
        with pytest.raises(UserError, match=f"^colours.{field}: {said} is not valid, {hint}$"):
            Colours(**{field: value})
    for field in ("one", "number"):
        with pytest.raises(UserError, match=f"colours.{field}: None is not valid"):
            Colours(**{field: None})


def test_every_class_of_configuration_checks_its_choices() -> None:
    checked = 0
    for cls in CLASSES:
        for field, annotation in field_types(cls).items():
            several = get_origin(annotation) is tuple
            choice = get_args(annotation)[0] if several else annotation
            if get_origin(choice) is Literal:
                with pytest.raises(UserError, match=rf"{field}: 'xyzzy' is not valid, choose from"):
                    cls(**{field: ("xyzzy",) if several else "xyzzy"})
                checked += 1
    assert checked >= 40
