"""Layers that more than one paper uses.

In the order in which to read:

- equalized: dense layer and convolution with the equalized learning rate
- pixel_norm: pixelwise feature vector normalization
- minibatch_std: standard deviation over groups of a batch, as a feature map
- growing: how a new level fades in, in generator and discriminator
- mapping: the mapping network from z to w
- share: what one of several processes has of a batch, and its random numbers
- noise: noise inputs
- style_mixing: the styles of several latents in one image
"""
