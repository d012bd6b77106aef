"""What is measured of a generator itself, rather than of sets of images.

In the order in which to read:

- ppl: perceptual path length
- separability: linear separability of attributes in latent space
- resolution_usage: what each resolution adds to an image
- jacobian: singular values of the generator's Jacobian
- stability: how much images of fixed latents change from snapshot to snapshot
- mixing: images of several latents each, of which a FID is computed
- full_size: a half-grown generator whose images are enlarged to full size
"""
