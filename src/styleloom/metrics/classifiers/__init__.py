"""Classifiers of binary attributes, which linear separability needs (StyleGAN section 4.2).

In the order in which to read:

- attributes: which binary attributes the labels of a data set have
- classifier: a trained classifier, its file, and its logits
- training: training one classifier for each attribute
"""
