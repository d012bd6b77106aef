"""The largest seeds that random generators can take."""

MAX_TRAINING_SEED = 2**63 - 2
"""Largest seed of a training: the next number seeds a second generator, and torch takes signed 64 bits."""

MAX_IMAGE_SEED = 2**32 - 1
"""Largest seed of a generated image: torch's generator on the CPU drops the upper bits of larger ones, which
would repeat the images of smaller ones."""
