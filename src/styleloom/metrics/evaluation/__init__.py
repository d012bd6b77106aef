"""Metrics by name, from the images to the record.

How `fid50k_full` is measured: `definitions` reads the name, which gives a `Definition` of the metric `fid`, a
`Frechet` of `feature_metrics`. `suite.Evaluation` asks the metric for its plan (`set_metric`): the moments of
features of 50,000 generated images and of all reals. `statistics` takes those of the reals from the cache, or
has them collected. `collect` passes over each set of images once and fills the statistics of all metrics. The
metric then computes its number from the two statistics, by the formula in `metrics/fid.py`.

In the order in which to read:

- definitions: all metrics, and the reading of names
- metric: what every metric is: names, needs, refusals
- set_metric: metrics that compare sets of images
- feature_metrics: Fréchet and kernel distance, inception score, precision and recall
- pixel_metrics: sliced Wasserstein distance, MS-SSIM
- probe_metric: metrics of a generator itself
- latent_metrics: path lengths, linear separability
- network_metrics: share of each resolution, Jacobian, change between snapshots
- suite: an evaluation: checks, repeats, the JSON record
- subject: what is measured, and the reals that it is compared with
- image_sets: sets of images: of a data set, of files, of a generator
- image_size: one size for all images that are compared
- keep: the kinds of statistics that a pass over images keeps
- collect: one pass over a set of images for all metrics
- statistics: statistics of the reals, each made once
- cache: statistics of the reals, kept on disk between evaluations
- measure: the numbers of one metric, or why there are none
"""
