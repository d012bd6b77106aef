"""What one measurement of a metric gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Measure:
    """Numbers of one metric.

    Args:
        values: by name; the first is the one that the metric is judged by.
        errors: standard errors of those values for which one measurement tells it.
        details: what else there is to know, as JSON.
    """

    values: Mapping[str, float]
    errors: Mapping[str, float | None] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
