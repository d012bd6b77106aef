"""Videos of a trained generator.

In the order in which to read:

- motion: what moves from moment to moment
- film: latents at every moment, and their frames
- encoders: frames to a file
"""
