"""What a training takes, before it runs: time, memory, disk, and the settings that fit.

In the order in which to read:

- plan: the whole answer, and the command
- memory: bytes, by running the phases on tensors without storage
- devices: how fast measured devices train, and how fast this one does
- noise_images: noise in place of images
"""
