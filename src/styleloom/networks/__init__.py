"""Generators and discriminators: one file for each paper.

In the order in which to read:

- assembly: what all papers share: the generator around mapping and synthesis, truncation, precision
- progan: ProGAN
- stylegan: StyleGAN, configurations B to F (A has ProGAN's networks)
- msg: MSG-ProGAN and MSG-StyleGAN
- stylegan2: StyleGAN2, configurations B to F (A has StyleGAN's networks)
- build: which class of configuration makes which network
- stages: a synthesis network as a list of layers, for pictures of which parts change
"""
