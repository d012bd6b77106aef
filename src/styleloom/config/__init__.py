"""Experiments as data: frozen dataclasses, JSON, typed overrides."""

from styleloom.config.experiment import DataOptions, Experiment
from styleloom.config.growth import Growth
from styleloom.config.networks import (
    DiscriminatorConfig,
    FeatureMaps,
    GeneratorConfig,
    Mapping,
    MinibatchStd,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
)
from styleloom.config.objective import GradientPenalty, PathLength
from styleloom.config.optimizer import Adam
from styleloom.config.overrides import apply_overrides
from styleloom.config.run import RunOptions
from styleloom.config.schedules import ByImages, ByResolution
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
