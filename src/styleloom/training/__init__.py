"""The algorithm: one step of training, and all that it is made of.

In the order in which to read:

- trainer: `Trainer.step`, networks, optimizers and counters
- exchange: what the processes of a training tell each other once a phase
- freezing: layers that stay as they are
- phases: G's main loss, path length, D's objective and its penalty, each on one micro-batch
- adversaries: G and D as the phases see them, and the one place that every image passes before D
- losses: adversarial losses by name, drift, label loss
- regularizers: R1, R2, WGAN-GP and path length
- inputs: reals from the loader, latents and labels of fakes
- cutoffs: the draws of style mixing
- optim: Adam and RMSprop under lazy regularization; updates that are left out
- ema: the moving average of G
- state: everything that the next step depends on, out and in
- signals: how different images are, D on held-out images, growth of weights
- health: whether a training can continue from its weights
- clock: seconds of each phase, and of waiting for images
"""
