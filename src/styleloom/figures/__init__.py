"""The figures of the four papers, each by its name.

In the order in which to read:

- figure: what a figure is: what it needs and reads, what it is given, what comes of it
- layout: pictures from images of any size, with gaps and words
- plots: plots as documents, and how they are drawn
- random_images: sheets of random images, in one size or several, of one snapshot or several
- variation: style mixing, realizations of noise, truncation
- training_pictures: all levels of an image; the snapshots of a run
- training_plots: what runs recorded, and what is measured of their snapshots
- feature_maps: what is inside a generator: droplets, frequencies
- smoothness: path lengths of single images, singular values, details that stay in place
- projections: projected images, and the noise found for them
- attributed: distances of generated and real images after projection
- neighbours: nearest neighbours in a data set
- progan: the figures of ProGAN
- stylegan: the figures of StyleGAN
- msg_gan: the figures of MSG-GAN
- stylegan2: the figures of StyleGAN2
- registry: all figures by name, and how one is begun
"""
