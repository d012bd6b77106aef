"""Experiments as data: frozen dataclasses, JSON, typed overrides."""

from styleloom.config.experiment import (
    Adam,
    ByResolution,
    DataOptions,
    Experiment,
    GradientPenalty,
    Growth,
    PathLength,
    RunOptions,
)
from styleloom.config.networks import (
    DiscriminatorConfig,
    FeatureMaps,
    GeneratorConfig,
    Mapping,
    MinibatchStd,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
)
from styleloom.config.overrides import apply_overrides
from styleloom.config.schedules import ByImages
from styleloom.config.serialize import from_json, to_json

__all__ = [
    "Adam",
    "ByImages",
    "ByResolution",
    "DataOptions",
    "DiscriminatorConfig",
    "Experiment",
    "FeatureMaps",
    "GeneratorConfig",
    "GradientPenalty",
    "Growth",
    "Mapping",
    "MinibatchStd",
    "PathLength",
    "RunOptions",
    "StyleGAN2Discriminator",
    "StyleGAN2Generator",
    "apply_overrides",
    "from_json",
    "to_json",
]
