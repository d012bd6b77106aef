"""One experiment: its networks, objective, schedules, treatment of data and outputs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from styleloom.config.augmentation import Augmentation
from styleloom.config.checks import above, at_least, check_choices, within
from styleloom.config.growth import Growth
from styleloom.config.networks import (
    DiscriminatorConfig,
    GeneratorConfig,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
)
from styleloom.config.objective import GradientPenalty, Loss, PathLength
from styleloom.config.optimizer import Adam, Optimizer
from styleloom.config.run import RunOptions
from styleloom.config.schedules import ByImages, ByResolution, Number, values
from styleloom.config.seeds import MAX_TRAINING_SEED
from styleloom.errors import UserError, quoted

MAX_BATCH = 2**16
"""Largest batch: far above what anybody trains with, and few enough to list its divisors in a message."""

MAX_KIMG = 1e9
"""Longest training, in thousands of images."""

Precision: TypeAlias = Literal["auto", "fp32", "bf16", "tf32"]

GradientExchange: TypeAlias = Literal["fp32", "bf16"]

StepOrder: TypeAlias = Literal["g-first", "d-first", "average-last"]


@dataclass(frozen=True)
class DataOptions:
    """How real images are treated.

    Args:
        mirror: "horizontal" flips each with probability 1/2.
        held_out: number of images, the last ones in stored order, that training never sees. The run's own
            SWD (`run.swd_images`) compares with them; with 0 it compares with the training images.
    """

    mirror: Literal["none", "horizontal"] = "none"
    held_out: int = 0

    def __post_init__(self) -> None:
        check_choices(self, "data.")
        at_least("data.held_out", self.held_out, 0)


@dataclass(frozen=True)
class Experiment:
    """Everything that determines a training run, except data and device.

    Fields of type `Number` are constants, or change with the images seen (`ByImages`).

    Args:
        name: preset name.
        source: paper and table row.
        generator, discriminator: networks.
        loss: adversarial loss, by name.
        d_regularizer, g_regularizer: gradient penalty and path length.
        drift: weight of D(x)^2 on reals (ProGAN appendix A.1).
        label_weight: weight of the class logits' cross-entropy, for discriminators that classify (AC-GAN).
        style_mixing: probability of mixing two latents (StyleGAN section 3.1).
        style_mixing_unit: number of images, by resolution, that share one draw of style mixing: whether to
            mix, and from which layer on. The authors' code draws once for the minibatch of a GPU; 1 draws for
            each image, as the papers word it.
        optimizer: "adam", or "rmsprop" with alpha = beta2 and the same epsilon.
        adam: optimizer constants of both networks.
        learning_rate: of both networks, by resolution.
        learning_rate_factor: multiplies the learning rate; a number by images seen makes a ramp or a decay.
        batch: images per step, by resolution.
        micro_batch: most images that pass through the networks at once; a step adds up the gradients of
            batch / micro_batch passes. 0 passes the whole batch.
        step_order: order of the updates in a step. "g-first" is generator, EMA, discriminator (StyleGAN2);
            "d-first" is EMA, discriminator, generator (ProGAN, StyleGAN, MSG-GAN), in which the EMA lags the
            generator by one update; "average-last" is discriminator, generator, EMA (BMSG-GAN's code).
        shared_latents: whether both networks' updates use fakes of the same latents, with the labels of the
            reals (BMSG-GAN's code); otherwise each update draws latents and labels of its own.
        total_kimg: length of the training, thousands of real images.
        ema_half_life_kimg: half-life of the generator's EMA, thousands of real images.
        ema_beta: decay of the EMA per step, whatever the batch (ProGAN: 0.999), in place of the half-life;
            None takes the half-life.
        freeze: layers that stay as they are, see `training/freezing.py`: "d:4" the first four of D, "mapping"
            the mapping network, or names of layers.
        growth: progressive growing.
        data: treatment of real images.
        augment: transformations of real and generated images before the discriminator.
        precision: arithmetic of the convolutions; "auto" chooses by device (`resolve_precision`).
        gradient_exchange: how gradients travel between the processes of a training: "fp32", or "bf16" in half
            as many bytes and with fewer digits. One process exchanges nothing.
        compile: "first-order" runs torch.compile on the phases that need no second derivatives.
        seed: of every random generator, 0 to `MAX_TRAINING_SEED`.
        run: what the run writes and measures, and when.
    """

    name: str = "stylegan2-f"
    source: str = ""
    generator: GeneratorConfig = field(default_factory=StyleGAN2Generator)
    discriminator: DiscriminatorConfig = field(default_factory=StyleGAN2Discriminator)
    loss: Loss = "nonsaturating"
    d_regularizer: GradientPenalty = GradientPenalty()
    g_regularizer: PathLength = PathLength()
    drift: float = 0.0
    label_weight: float = 1.0
    style_mixing: float = 0.9
    style_mixing_unit: ByResolution = ByResolution(4)
    optimizer: Optimizer = "adam"
    adam: Adam = Adam()
    learning_rate: ByResolution = ByResolution(0.002)
    learning_rate_factor: Number = 1.0
    batch: ByResolution = ByResolution(32)
    micro_batch: int = 0
    step_order: StepOrder = "g-first"
    shared_latents: bool = False
    total_kimg: float = 25000.0
    ema_half_life_kimg: Number = 10.0
    ema_beta: float | None = None
    freeze: tuple[str, ...] = ()
    growth: Growth = Growth()
    data: DataOptions = DataOptions()
    augment: Augmentation = Augmentation()
    precision: Precision = "auto"
    gradient_exchange: GradientExchange = "fp32"
    compile: Literal["none", "first-order"] = "none"
    seed: int = 0
    run: RunOptions = RunOptions()

    def __post_init__(self) -> None:
        check_choices(self)
        within("style_mixing", self.style_mixing, 0, 1)
        within("seed", self.seed, 0, MAX_TRAINING_SEED)
        at_least("drift", self.drift, 0)
        at_least("label_weight", self.label_weight, 0)
        at_least("micro_batch", self.micro_batch, 0)
        for name in ("learning_rate_factor", "ema_half_life_kimg"):
            for value in values(getattr(self, name)):
                at_least(name, value, 0)
        if max(values(self.learning_rate_factor)) == 0:
            raise UserError(
                f"learning_rate_factor: {self.learning_rate_factor} is not valid, nothing would be learned; "
                "valid: a number above 0, or knots of which one is above 0"
            )
        if self.ema_beta is not None:
            within("ema_beta", self.ema_beta, 0, 1)
            if isinstance(self.ema_half_life_kimg, ByImages):
                raise UserError(
                    f"ema_half_life_kimg: {self.ema_half_life_kimg} is not valid with ema_beta "
                    f"{self.ema_beta}, which takes its place; valid: a number, or ema_beta none"
                )
        above("total_kimg", self.total_kimg, 0)
        within("total_kimg", self.total_kimg, 0, MAX_KIMG)
        for name, rate in self.learning_rate.named("learning_rate"):
            above(name, rate, 0)
            at_least(name, rate, 0)
        for name, unit in self.style_mixing_unit.named("style_mixing_unit"):
            _whole(name, unit)
        self._check_networks()
        for resolution, batch in ((None, self.batch.base), *self.batch.at):
            self._check_batch("batch" if resolution is None else f"batch at {resolution}", batch)

    def _check_networks(self) -> None:
        """Raise UserError where the networks contradict each other, or the settings of the training."""
        g, d = self.generator, self.discriminator
        for name in ("resolution", "channels", "label_dim", "grid", "pyramid_sides"):
            ours, theirs = getattr(g, name), getattr(d, name)
            if ours != theirs:
                raise UserError(
                    f"generator.{name} is {ours} and discriminator.{name} is {theirs}: must agree"
                )
        if self.growth.mode == "progressive":
            for network in (g, d):
                if not network.grows:
                    raise UserError(
                        f"growth.mode: 'progressive' is not valid, the {network.family} {network.role} of "
                        "this experiment does not grow; valid: none"
                    )
            if self.growth.initial_resolution > g.resolution:
                raise UserError(
                    f"growth.initial_resolution: {self.growth.initial_resolution} is not valid, it must be "
                    f"at most the resolution, {g.resolution}"
                )
            if self.compile != "none":
                raise UserError(
                    f"compile: {quoted(self.compile)} is not valid with growth.mode progressive, "
                    "whose networks change at every step of a fade; valid: none"
                )
        if self.style_mixing > 0 and not g.mixes_styles:
            raise UserError(
                f"style_mixing: {self.style_mixing} is not valid, the {g.family} generator of this "
                "experiment cannot mix styles; valid: 0"
            )
        if self.run.sample_truncation != 1 and not g.truncates:
            raise UserError(
                f"run.sample_truncation: {self.run.sample_truncation} is not valid, the {g.family} generator "
                "of this experiment has no styles to truncate; valid: 1"
            )
        if self.optimizer == "rmsprop" and self.adam.beta1 != 0:
            raise UserError(
                f"adam.beta1: {self.adam.beta1} is not valid with optimizer rmsprop, which has no momentum; "
                "valid: 0"
            )
        if self.loss == "relativistic-hinge" and self.micro_batch:
            raise UserError(
                f"micro_batch: {self.micro_batch} is not valid with loss relativistic-hinge, which compares "
                "with the mean of the whole batch; valid: 0"
            )

    def _check_batch(self, name: str, batch: float) -> None:
        _whole(name, batch)
        micro = min(self.micro_batch or int(batch), int(batch))
        within(name, batch, 1, MAX_BATCH)
        group = self.discriminator.minibatch_std.group_size
        if batch % micro:
            valid = _micro_batches(int(batch), group)
            raise UserError(f"micro_batch: {micro} does not divide {name} {int(batch)}; {valid}")
        if group > 1 and micro > group and micro % group:
            raise UserError(
                f"{name} {int(batch)} in passes of {micro} is not divisible into groups of {group} for "
                f"minibatch standard deviation; valid: multiples of {group}"
            )
        if micro < group and micro != batch:
            raise UserError(
                f"micro_batch: {micro} is smaller than discriminator.minibatch_std.group_size {group}, "
                f"which would change the statistics of {name} {int(batch)}; "
                f"{_micro_batches(int(batch), group)}"
            )

    @property
    def resolution(self) -> int:
        """Side of the images, px."""
        return self.generator.resolution

    def with_data(
        self,
        resolution: int | None = None,
        channels: int | None = None,
        label_dim: int | None = None,
        grid: tuple[int, ...] | None = None,
    ) -> Experiment:
        """The same experiment for images of another shape; None leaves a field as it is."""
        shape = {"resolution": resolution, "channels": channels, "label_dim": label_dim, "grid": grid}
        given = {name: value for name, value in shape.items() if value is not None}
        return replace(
            self,
            generator=replace(self.generator, **given),
            discriminator=replace(self.discriminator, **given),
        )


def _micro_batches(batch: int, group: int) -> str:
    """The micro-batches that a batch can be divided into, for a message."""
    sizes = [size for size in range(max(group, 1), batch) if batch % size == 0 == size % max(group, 1)]
    return f"valid: {', '.join(map(str, [*sizes, 0]))} (0 is the whole batch)"


def _whole(name: str, value: float) -> None:
    """Raise UserError unless `value` is a whole number of at least 1."""
    if value < 1 or value != int(value):
        raise UserError(f"{name}: {quoted(value)} is not valid, it must be a whole number of at least 1")
