"""Did this generator make that image? A projection tells by how near it comes (StyleGAN2 section 5, Fig. 9).

An image that the generator made is found again in w, another is only approached. How near is near is not
known beforehand: it depends on the generator, the images, the distance and the steps. It is measured once, on
images that are known to be generated and on real ones that the generator has not seen. What is said of a
further image comes from these two sets of distances, with error rates, and holds for images that come about
as theirs do.

In the order in which to read:

- rates: what two sets of distances say: ROC area, thresholds, shares, each with its interval
- calibration: the two sets with all that was set, their file, and the verdict on a further distance
- measuring: the distances of images after projection, and which images are generated and real
- plot: the histogram of both sets
"""

from styleloom.attribution.calibration import Calibration as Calibration
from styleloom.attribution.calibration import Verdict as Verdict
from styleloom.attribution.calibration import load_calibration as load_calibration
from styleloom.attribution.measuring import distances as distances
from styleloom.attribution.measuring import generated_images as generated_images
from styleloom.attribution.measuring import real_images as real_images
from styleloom.attribution.plot import histogram as histogram
