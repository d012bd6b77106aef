"""Other people's weights to ours: one file per source, names and layouts as data in `tables.Rule`s.

A source's file gives four things: `generator_config` and `discriminator_config` translate the official
keyword arguments, `generator_table` and `discriminator_table` the official variable names.

In the order in which to read:

- tables: what a table of names is, and how it fills a network
- shapes: sizes of a network that follow from shapes of its variables
- progan_tf: ProGAN, the authors' TensorFlow code
- stylegan_tf: StyleGAN, the authors' TensorFlow code
- msg_tf: MSG-StyleGAN, the authors' TensorFlow code
- bmsg: MSG-ProGAN, the first author's earlier PyTorch code
- stylegan2_tf: StyleGAN2, the authors' TensorFlow code
- stylegan2_ada: StyleGAN2, the authors' PyTorch port
- stylegan2_ada_tf: StyleGAN2, the TensorFlow code of the ADA paper
- rosinality: StyleGAN2, rosinality's PyTorch port
- sayable: which of our networks other layouts can say
"""
