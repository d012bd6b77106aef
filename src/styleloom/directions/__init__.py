"""Directions in the latent space of a trained generator: finding them, keeping them, moving along them.

In the order in which to read:

- sefa: from the weights of the style layers alone
- pca: from how latents vary
- boundary: from images that have an attribute or not
- probe: which generated images have an attribute, by the labels of a data set
- direction_set: named directions and their file
- editing: latents moved along a direction
- discovery: the three methods for a sampler
- shipped: directions that come with a model in the package
"""
