from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from styleloom.config.networks import Mapping
from styleloom.layers.equalized import EqualizedDense
from styleloom.layers.mapping import MappingNetwork
from styleloom.layers.pixel_norm import pixel_norm


def test_formula() -> None:
    """z is normalised, then each layer has an activation, the last one too."""
    network = MappingNetwork(Mapping(3, 7, 0.01), 5, 6, 0)
    widths = [(layer.weight.shape[1], layer.weight.shape[0]) for layer in dense(network)]
    assert widths == [(5, 7), (7, 7), (7, 6)]
    z = 3 * torch.randn(4, 5)
    x = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    for layer in dense(network):
        torch.nn.init.normal_(layer.bias, std=10)  # type: ignore[arg-type]
        assert layer.bias is not None
        coefficient = 0.01 / math.sqrt(layer.weight.shape[1])
        x = F.leaky_relu(F.linear(x, layer.weight * coefficient, layer.bias * 0.01), 0.2) * math.sqrt(2)
    torch.testing.assert_close(network(z), x)
    torch.testing.assert_close(network(z * 2), x)


def dense(network: MappingNetwork) -> list[EqualizedDense]:
    """The layers, with their type."""
    return [layer for layer in network.layers if isinstance(layer, EqualizedDense)]


def test_stored_weights_are_100_times_larger() -> None:
    network = MappingNetwork(Mapping(8, 128, 0.01), 128, 128, 0)
    assert len(network.layers) == 8
    for layer in dense(network):
        assert layer.weight.std().item() == pytest.approx(100, rel=0.03)


def test_without_normalization() -> None:
    network = MappingNetwork(Mapping(1, 4, 1.0, normalize_z=False), 4, 4, 0)
    z = torch.randn(3, 4)
    torch.testing.assert_close(network(2 * z), 2 * network(z))


def test_no_layers_leave_the_hypersphere() -> None:
    """StyleGAN Table 4, "0": w is the normalised z."""
    network = MappingNetwork(Mapping(layers=0), 5, 5, 0)
    z = torch.randn(3, 5)
    assert list(network.parameters()) == []
    torch.testing.assert_close(network(z), pixel_norm(z))


def test_gains_of_stylegan() -> None:
    """sqrt(2) inside the weights and a plain leaky ReLU: as sqrt(2) after it, where biases are 0."""
    torch.manual_seed(1)
    ours = MappingNetwork(Mapping(1, 4), 4, 4, 0)
    torch.manual_seed(1)
    theirs = MappingNetwork(Mapping(1, 4), 4, 4, 0, weight_gain=math.sqrt(2), act_gain=1)
    z = torch.randn(3, 4)
    torch.testing.assert_close(ours(z), theirs(z))
    with torch.no_grad():
        for network in (ours, theirs):
            dense(network)[0].bias.fill_(50)  # type: ignore[union-attr]
    assert not torch.allclose(ours(z), theirs(z))


def test_labels_concatenated_before_the_hypersphere() -> None:
    """StyleGAN and StyleGAN2: a plain N(0, 1) matrix, and one norm over both parts."""
    network = MappingNetwork(Mapping(0, labels="concat"), 5, 6, 3)
    assert network.label_weight is not None
    assert network.label_weight.shape == (3, 5)
    z, label = torch.randn(3, 5), torch.eye(3)
    torch.testing.assert_close(network(z, label), pixel_norm(torch.cat([z, network.label_weight], 1)))
    assert MappingNetwork(Mapping(2, 7, labels="concat"), 5, 6, 3)(z, label).shape == (3, 6)


def test_labels_embedded_and_normalised_apart() -> None:
    """The authors' PyTorch port."""
    network = MappingNetwork(Mapping(0, labels="embed"), 5, 6, 3)
    assert network.label_embedding is not None
    z, label = torch.randn(3, 5), torch.eye(3)
    embedded = label @ network.label_embedding.weight.t() / math.sqrt(3)
    expected = torch.cat([pixel_norm(z), pixel_norm(embedded)], 1)
    torch.testing.assert_close(network(z, label), expected)
    assert MappingNetwork(Mapping(2, 7, labels="embed"), 5, 6, 3)(z, label).shape == (3, 6)


def test_label_alone() -> None:
    """z_dim 0, as in a projection discriminator."""
    network = MappingNetwork(Mapping(2, 7, labels="embed"), 0, 6, 3)
    assert network(None, torch.eye(3)).shape == (3, 6)
    assert dense(network)[0].weight.shape == (7, 6)


@pytest.mark.parametrize("labels", ["concat", "embed"])
def test_labels_change_w(labels: str) -> None:
    network = MappingNetwork(Mapping(2, 7, labels=labels), 5, 6, 3)  # type: ignore[arg-type]
    z = torch.randn(1, 5).expand(3, -1)
    w = network(z, torch.eye(3))
    assert (w[0] - w[1]).abs().max() > 1e-3
    assert (w[1] - w[2]).abs().max() > 1e-3
