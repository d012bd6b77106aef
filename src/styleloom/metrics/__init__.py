"""Measures of generators and images. Here is a file for each formula; it knows no names, files or caches.

Formulas, in the order in which to read:

- moments: mean and covariance of features that come batch by batch, or the features themselves
- fid: Fréchet distance of two sets of features
- kid: kernel distance of two sets of features
- inception_score: inception score
- precision_recall: improved precision and recall
- pyramid: Laplacian pyramid of images
- descriptors: patches of the levels of a pyramid, which describe a set of images
- swd: sliced Wasserstein distance of two sets of patches
- ms_ssim: multi-scale structural similarity of pairs of images
- reconstruction: how near an image is to the one that it is to be: PSNR and SSIM
- intervals: standard errors and confidence intervals

Packages, which build on the formulas:

- probes: what is measured of a generator itself rather than of sets of images
- classifiers: classifiers of attributes, which linear separability needs
- evaluation: metrics by name, from the images to the record
"""
