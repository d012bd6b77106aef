"""Faces of photographs, aligned as FFHQ and CelebA-HQ were, and pasted back.

In the order in which to read:

- alignment: landmarks to a square, and the square to pixels
- landmarks: files of landmarks
- detector: landmarks of one's own photographs
- placed: where a face was cut out, as it is recorded
- aligned: a source of the faces in another source
- pasting: an edited face back into its photograph
"""
