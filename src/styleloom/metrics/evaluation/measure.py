"""What one measurement of a metric gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from styleloom.errors import UserError


class UnmeasurableError(UserError):
    """What is to be measured has no value: a generator makes NaN, for example. Other metrics may have one."""


@dataclass(frozen=True)
class Measure:
    """Numbers of one metric.

    Args:
        values: by name; the first is the one that the metric is judged by.
        errors: standard errors of those values of which one measurement gives one.
        details: what else there is to know, as JSON.
        failure: why there are no numbers; empty where there are.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    errors: Mapping[str, float | None] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    failure: str = ""

    def checked(self) -> Measure:
        """This one, or a failure where a value is not finite. Errors that are not finite are unknown."""
        for name, value in self.values.items():
            if not math.isfinite(value):
                return Measure(failure=f"{name} is {value}")
        errors = {
            name: error if error is None or math.isfinite(error) else None
            for name, error in self.errors.items()
        }
        return replace(self, errors=errors)


def attempt(measure: Callable[[], Measure | None]) -> Measure | None:
    """The result of `measure`; where it raises UserError, a `Measure` that has the reason as its failure."""
    try:
        found = measure()
    except UserError as error:
        return Measure(failure=str(error))
    return None if found is None else found.checked()


def errors(document: Mapping[str, Any]) -> dict[str, str]:
    """Why metrics of an evaluation have no numbers, by name; empty where all have."""
    return {name: entry["error"] for name, entry in document["metrics"].items() if "error" in entry}
