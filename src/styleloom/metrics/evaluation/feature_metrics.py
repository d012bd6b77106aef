"""Metrics of sets of images in the features of a network: Fréchet and kernel distance, inception score,
precision and recall."""

from __future__ import annotations

from dataclasses import asdict

from styleloom.metrics.evaluation.collect import FeatureNetworks
from styleloom.metrics.evaluation.keep import MOMENTS, ROWS
from styleloom.metrics.evaluation.measure import Measure
from styleloom.metrics.evaluation.metric import ALL, CHOICE, IMAGES, MIXED, NETWORK, OTHER_NETWORK, Definition
from styleloom.metrics.evaluation.set_metric import Plan, SetMetric
from styleloom.metrics.fid import frechet_distance
from styleloom.metrics.inception_score import SPLITS, inception_score
from styleloom.metrics.kid import kernel_distance
from styleloom.metrics.moments import Moments, Rows
from styleloom.metrics.precision_recall import precision_recall


class Frechet(SetMetric):
    """Distance of two normal distributions, from the moments of features of each set."""

    keep, layer = MOMENTS, "features"
    needs_reals = True
    reals_repeat = True

    def number(self, d: Definition, reals: Moments, fakes: Moments, seed: int) -> Measure:
        """The Fréchet distance."""
        return Measure({d.name: frechet_distance(reals, fakes)})

    def note(self, plan: Plan, networks: FeatureNetworks) -> str:
        """Fewer images than features make covariances singular."""
        if plan.reals is None:
            return ""
        count = min(plan.fakes.count, plan.reals.count)
        dim = networks.features(plan.fakes.network).layers[plan.fakes.layer]
        if count > dim:
            return ""
        return (
            f"{count:,} images are no more than the {dim:,} features: covariances are singular and "
            "the number is far too large; compare it with numbers of as many images alone"
        )


class Kernel(SetMetric):
    """Maximum mean discrepancy of the features of two sets."""

    keep, layer = ROWS, "features"
    needs_reals = True

    def number(self, d: Definition, reals: Rows, fakes: Rows, seed: int) -> Measure:
        """The kernel distance, with its standard error."""
        details = asdict(kernel_distance(reals.tensor, fakes.tensor, seed=seed))
        return Measure({d.name: details.pop("value")}, {d.name: details.pop("standard_error")}, details)


class Inception(SetMetric):
    """How sure a classifier is of each image, and of how many classes it sees any."""

    keep, layer = ROWS, "logits"

    def least(self, d: Definition) -> int:
        """One image for each split."""
        return SPLITS

    def number(self, d: Definition, reals: None, fakes: Rows, seed: int) -> Measure:
        """The inception score."""
        found = inception_score(fakes.tensor)
        return Measure({d.name: found.mean, f"{d.name} deviation of splits": found.std})


class Neighbours(SetMetric):
    """Shares of each set that lie within the neighbourhoods of the other."""

    keep, layer = ROWS, "features"
    needs_reals = True

    def least(self, d: Definition) -> int:
        """Each image has k neighbours beside itself."""
        return d.neighbours + 1

    def number(self, d: Definition, reals: Rows, fakes: Rows, seed: int) -> Measure:
        """Precision and recall."""
        found = precision_recall(reals.tensor, fakes.tensor, k=d.neighbours)
        return Measure({f"{d.name} precision": found.precision, f"{d.name} recall": found.recall})


FEATURE_METRICS = (
    Frechet(
        kind="fid",
        pattern=rf"fid{IMAGES}{CHOICE}{MIXED}",
        num=50_000,
        text="Fréchet inception distance (Heusel et al. 2017) of so many generated images to the reals; "
        "mixN: images of N latents at random crossover points (StyleGAN Table 2)",
        network="inception-2015",
        example="fid50k, fid50k_full, fid50k_mix2, fidall",
    ),
    Frechet(
        kind="fd",
        pattern=rf"fd{IMAGES}{CHOICE}{MIXED}{OTHER_NETWORK}",
        num=50_000,
        text="Fréchet distance as in FID, in the features of another network",
        network="efficientnet-lite0",
        example="fd10k_lite0",
    ),
    Kernel(
        kind="kid",
        pattern=rf"kid{IMAGES}{CHOICE}{NETWORK}",
        num=50_000,
        text="kernel inception distance (Bińkowski et al. 2018), unbiased, mean over 100 subsets of 1000 "
        "or all",
        network="inception-2015",
        example="kid50k, kid10k_lite0",
    ),
    Inception(
        kind="is",
        pattern=rf"is{IMAGES}{NETWORK}",
        num=50_000,
        text="inception score (Salimans et al. 2016), mean and deviation over 10 splits; in inception-2015 "
        "the logits have no bias",
        network="inception-2015",
        better="higher",
        example="is50k",
    ),
    Neighbours(
        kind="pr",
        pattern=rf"pr(?P<num>[1-9]\d*k(?=[1-9]?(?:_|$))|[1-9]\d*|{ALL})?(?P<neighbours>(?<=[kl])[1-9])?"
        rf"{CHOICE}{NETWORK}",
        num=50_000,
        text="precision and recall (Kynkäänniemi et al. 2019) by the k-th nearest neighbour, 3 unless said; "
        "higher is better, but one is had at the cost of the other",
        network="vgg16",
        better=None,
        example="pr50k3, pr10k3_lite0",
    ),
)
