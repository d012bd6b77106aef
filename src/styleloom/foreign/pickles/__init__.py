"""Pickles read without running anything in them. It knows nothing of weights: data sets are read with it too.

In the order in which to read:

- records: names, calls, arrays and storages of a pickle, inert
- names: the closed list of names that files may have
- rebuild: the calls that files make, and our answers
- unpickler: a reader of pickles that runs nothing
- torch_files: the two formats of PyTorch
"""
