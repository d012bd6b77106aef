"""Feature networks and perceptual distances: which there are, their weights, and the resize rule of each.

In the order in which to read:

- registry: the table of networks, by name
- weights: files of weights: where they lie, how they are fetched and verified
- resize: grey images to colour, images to the size that a network reads
- inception: Inception-v3, for FID, KID and the inception score
- vgg: VGG-16, for precision and recall; LPIPS on it, for path length
- efficientnet: EfficientNet-Lite0, small enough for a CPU, as both
"""
