"""Weights that other codes wrote, read without running anything.

In the order in which to read:

- pickles: a package of its own, the reader of pickles that runs nothing
- container: a pickle, gzip, or a file of PyTorch
- file: what a file holds, in words; its networks, named and not yet built
- tensorflow: pickles of the authors' TensorFlow codes
- persistence: pickles of stylegan2-ada-pytorch, stylegan3 and forks
- state_dicts: rosinality's checkpoints, BMSG-GAN's networks
- theano: ProGAN's first code
- experiment: the experiment of a foreign generator
- reading: the door
- description: what a file is, as a document
"""
