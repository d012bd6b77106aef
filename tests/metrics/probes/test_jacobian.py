"""Singular values, against known ones and against PyTorch's Jacobian."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from metrics.probed import DIM, labels, linear, real
from styleloom.errors import UserError
from styleloom.metrics.probes import jacobian
from styleloom.metrics.probes.jacobian import gram_matrix, singular_values, spectrum
from styleloom.networks.assembly import finest
from styleloom.sampling import Sampler
from styleloom.types import GrowthState


def orthonormal(rows: int, columns: int) -> Tensor:
    """Columns of length 1 at right angles."""
    return torch.linalg.qr(torch.randn(rows, columns, dtype=torch.float64)).Q


def test_a_linear_map_of_known_values() -> None:
    """Down to a thousandth of the largest, which float32 images still carry."""
    known = torch.logspace(1, -2, DIM, dtype=torch.float64)
    matrix = orthonormal(3 * 8 * 8, DIM) @ torch.diag(known) @ orthonormal(DIM, DIM).t()
    values = singular_values(linear(matrix.float()), seed=3)
    assert values.dtype == torch.float64
    torch.testing.assert_close(values, known, rtol=1e-4, atol=0)


def test_values_of_a_map_that_ignores_directions_are_0() -> None:
    matrix = orthonormal(3 * 8 * 8, DIM).float()
    matrix[:, 5:] = 0
    values = singular_values(linear(matrix), seed=0)
    torch.testing.assert_close(values[:5], torch.ones(5, dtype=torch.float64), rtol=1e-6, atol=0)
    assert (values[5:] < 1e-6).all()


def expected(sampler: Sampler, seed: int, label: Tensor | None = None, latent_input: bool = False) -> Tensor:
    """By PyTorch's reverse mode, row by row, and a singular value decomposition."""
    z, maps = sampler.draw([seed])
    w = sampler.generator.mapping(z, label)[0, 0]
    fixed = sampler.generator.mapping(z, label)[0, -1:] if latent_input else z.new_empty(0, len(w))

    def g(w: Tensor) -> Tensor:
        """The image of one w in all layers, beside a latent input."""
        ws = torch.cat([w.expand(sampler.generator.num_ws - len(fixed), -1), fixed])
        return finest(sampler.generator.synthesis(ws[None], sampler.growth, maps)).flatten()

    matrix = torch.autograd.functional.jacobian(g, w)
    assert isinstance(matrix, Tensor)
    values = torch.linalg.svdvals(matrix.double())
    return torch.cat([values, values.new_zeros(len(w) - len(values))])


@pytest.mark.parametrize(
    ("preset", "growth"),
    [
        ("stylegan2-f", None),
        ("stylegan2-b", GrowthState(1, 0.5)),
        ("stylegan-f", None),
        ("stylegan-b", None),
        ("stylegan-c-paper", None),
        ("progan", None),
        ("progan", GrowthState(1, 0.25)),
        ("msg-stylegan", None),
    ],
)
def test_real_generators_against_pytorch(preset: str, growth: GrowthState | None) -> None:
    sampler = real(preset, growth=growth, resolution=8)
    values = singular_values(sampler, seed=1)
    assert (values.diff() <= 0).all()
    reference = expected(sampler, 1, latent_input=preset == "stylegan-c-paper")
    torch.testing.assert_close(values, reference, rtol=1e-3, atol=1e-5 * reference[0].item())


def test_labels() -> None:
    sampler = real("stylegan2-f", "label_dim=3", resolution=8)
    values = [singular_values(sampler, 0, labels(k)) for k in range(2)]
    torch.testing.assert_close(values[0], expected(sampler, 0, labels(0)), rtol=1e-3, atol=1e-5)
    assert not torch.allclose(values[0], values[1], rtol=1e-2)


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_columns_at_once_change_nothing(batch: int) -> None:
    sampler = real("stylegan2-f")
    torch.testing.assert_close(
        singular_values(sampler, 0, batch=batch), singular_values(sampler, 0), rtol=1e-4, atol=1e-5
    )


def test_rows_that_do_not_fit_in_memory_come_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = real("stylegan2-f")
    whole = singular_values(sampler, 0)
    sizes: list[tuple[int, ...]] = []
    monkeypatch.setattr(jacobian, "COLUMN_BYTES", 4 * 8 * 300)
    monkeypatch.setattr(jacobian, "gram_matrix", lambda x: sizes.append(tuple(x.shape)) or gram_matrix(x))
    torch.testing.assert_close(singular_values(sampler, 0), whole, rtol=1e-6, atol=1e-6)
    assert sizes == [(8, 300), (8, 300), (8, 168)]  # 3 x 16 x 16 rows


def test_rows_enter_the_gram_matrix_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jacobian, "GRAM_VALUES", 7)
    columns = torch.randn(5, 40)
    exact = columns.double().numpy()
    np.testing.assert_allclose(gram_matrix(columns).numpy(), exact @ exact.T, rtol=1e-12)


def test_gradients_may_be_off_and_parameters_stay_as_they_are() -> None:
    sampler = real("stylegan2-f")
    before = torch.get_rng_state()
    with torch.no_grad():
        values = singular_values(sampler, 0)
    assert not values.requires_grad
    assert torch.equal(torch.get_rng_state(), before)
    assert all(p.grad is None and not p.requires_grad for p in sampler.generator.parameters())


def test_spectrum_against_numpy() -> None:
    values = torch.tensor([[4.0, 2.0, 1.0, 0.0], [1.0, 8.0, 2.0, 6.0], [5.0, 5.0, 5.0, 5.0]])
    result = spectrum(values)
    fractions = np.array([[1, 0.5, 0.25, 0], [1, 0.75, 0.25, 0.125], [1, 1, 1, 1]])
    np.testing.assert_allclose(result.mean, fractions.mean(0))
    np.testing.assert_allclose(result.std, fractions.std(0, ddof=1))
    assert result.median == pytest.approx((0.375 + 0.5 + 1) / 3)


def test_an_isometry_is_perfectly_conditioned() -> None:
    sampler = linear(7 * orthonormal(3 * 8 * 8, DIM).float())
    result = spectrum(torch.stack([singular_values(sampler, seed) for seed in range(2)]))
    assert result.mean == pytest.approx([1.0] * DIM, abs=1e-5)
    assert result.std == pytest.approx([0.0] * DIM, abs=1e-5)
    assert result.median == pytest.approx(1, abs=1e-5)


def test_refusals() -> None:
    with pytest.raises(UserError, match="singular values: 1 latents given; valid: 2 or more"):
        spectrum(torch.ones(1, 4))
    for wrong in (0.0, float("nan")):
        with pytest.raises(UserError, match="singular values: all are 0 at some w, or not finite"):
            spectrum(torch.tensor([[1.0, 0.5], [wrong, wrong]]))
