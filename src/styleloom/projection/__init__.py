"""From an image to the latent that makes it: the projector of StyleGAN2, and pivotal tuning.

In the order in which to read:

- settings: what a projection is told: space, noise, steps, ramps
- latent_statistics: where it begins: mean and deviation of w
- noise_maps: what keeps noise maps noise
- comparison: how far images are from their targets
- projector: one step of it, and `project`, which takes all of them
- tuning: pivotal tuning of the weights
"""

from styleloom.projection.comparison import distance_name as distance_name
from styleloom.projection.projector import Projected as Projected
from styleloom.projection.projector import Projector as Projector
from styleloom.projection.projector import project as project
from styleloom.projection.settings import Projection as Projection
from styleloom.projection.tuning import Tuner as Tuner
from styleloom.projection.tuning import Tuning as Tuning
