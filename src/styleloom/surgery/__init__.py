"""Networks for other images: another resolution, another aspect, other channels, labels.

What is new starts neutral, so that a training goes on from the pictures that there were. What cannot start
neutral is refused, or is fresh: then the snapshot's `info` names it.

In the order in which to read:

- operation: `operate`: which tensors come from the old network, which rules make, which are fresh
- networks: a network before and after; which tensors are the same
- labels: each class makes the pictures that there were
- channels: grey, RGB, RGBA
- grid: another aspect
- resolution: levels added or removed
- fitting: the highest toRGB that is left, fitted to what removed levels added
"""

from styleloom.surgery.operation import Change, operate

__all__ = ["Change", "operate"]
