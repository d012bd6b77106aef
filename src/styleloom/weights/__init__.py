"""Other people's weights to ours: one file per source, names and layouts as data in `tables.Rule`s.

A source's file gives four things: `generator_config` and `discriminator_config` translate the official
keyword arguments, `generator_table` and `discriminator_table` the official variable names.
"""
