"""Random transformations of what D reads (Karras et al. 2020, appendix B), and their strength.

In the order in which to read:

- pipe: all transformations in their order, on images or pyramids
- strengths: how often and how far each goes
- draws: where the random numbers come from
- blit: mirroring, quarter turns, shifts by whole pixels
- geometry: scaling, rotation, stretching, shifts by any amount
- warp: geometric transformations of images, band-limited, and their derivatives
- wavelets: the filters, from wavelets' coefficients
- color: brightness, contrast, inversion, hue, saturation
- filter: bands of frequencies amplified and weakened
- noise: noise
- cutout: a rectangle set to zero
- matrices: matrices of plane transformations
- control: the probability p, and what steers it
"""
