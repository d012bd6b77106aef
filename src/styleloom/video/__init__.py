"""Videos of a trained generator.

In the order in which to read:

- motion: what moves from moment to moment
- film: latents at every moment, and their frames
- kinds: walks, circles, truncation, noise, mixing, edits
- encoders: frames to a file
"""
