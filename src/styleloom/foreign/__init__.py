"""Weights that other codes wrote, read without running anything.

In the order in which to read:

- records: names, calls, arrays and storages of a pickle, inert
- names: the closed list of names that weights may have
- rebuild: the calls that weights make, and our answers
- unpickler: a reader of pickles that runs nothing
- torch_files: the two formats of PyTorch
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
