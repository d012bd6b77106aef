from __future__ import annotations

import torch

from styleloom.layers.style_mixing import mix


def test_two_latents() -> None:
    """Layers below the cut are the first latent's; a cut at the number of layers leaves the second out."""
    ws, ws2 = torch.randn(4, 3, 2), torch.randn(4, 3, 2)
    mixed = mix((ws, ws2), torch.tensor([[1], [2], [3], [0]]))
    for n, cut in enumerate((1, 2, 3, 0)):
        assert torch.equal(mixed[n], torch.cat([ws[n, :cut], ws2[n, cut:]]))


def test_layers_take_the_latents_in_order() -> None:
    styles = [torch.full((2, 6, 4), float(k)) for k in range(3)]
    mixed = mix(styles, torch.tensor([[1, 3], [2, 5]]))
    assert mixed.shape == (2, 6, 4)
    assert mixed[0, :, 0].tolist() == [0, 1, 1, 2, 2, 2]
    assert mixed[1, :, 3].tolist() == [0, 0, 1, 1, 1, 2]


def test_one_latent_stays_as_it_is() -> None:
    ws = torch.randn(2, 6, 4)
    assert torch.equal(mix([ws], torch.empty(2, 0, dtype=torch.int64)), ws)


def test_gradients_reach_the_layers_used() -> None:
    ws, ws2 = torch.randn(1, 3, 2, requires_grad=True), torch.randn(1, 3, 2, requires_grad=True)
    a, b = torch.autograd.grad(mix((ws, ws2), torch.tensor([[2]])).sum(), (ws, ws2))
    assert a[0, :, 0].tolist() == [1, 1, 0]
    assert b[0, :, 0].tolist() == [0, 0, 1]
