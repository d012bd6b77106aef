"""Pictures that answer at once: one picture described in full, and made again in parts as it changes.

Nothing here knows of a web page: `app` shows what this package makes, `generate --from` makes it once.

In the order in which to read:

- recipe: all that one picture is made from, as the query string of a link
- commands: the command line that makes the same
- making: latents of a recipe: mapping kept, truncation, mixing, edits, noise
- bending: what is done to feature maps between layers
- engine: pictures of latents, of which only what changed is computed again; previews
- pictures: PNG files that say what they are made from, and pictures of such files
"""
