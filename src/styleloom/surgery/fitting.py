"""The highest toRGB that is left, fitted to what the removed levels added to the picture."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from styleloom.networks.assembly import StyleGenerator, finest
from styleloom.ops.upfirdn import upsample2d

IMAGES, BATCH = 64, 8
"""From how many latents the layer is fitted, and how many are computed at a time."""

RIDGE = 1e-4
"""Weight of the change's own size, relative to that of what it is computed from."""

SEED = 0


def fit_highest_rgb(old: StyleGenerator, new: StyleGenerator, cfg: Any) -> None:
    """Change the highest toRGB of `new` so that its pictures are those of `old`, averaged over blocks of
    pixels, as nearly as one layer can: by least squares over random latents.

    Both sum their levels; `new` has the lower ones of `old`. Where the removed levels added nothing, nothing
    changes.

    Args:
        cfg: configuration of `new`.
    """
    to_rgb: Any = new.get_submodule(f"synthesis_network.blocks.{len(cfg.sides) - 1}.to_rgb")
    rows = columns = 0
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(SEED)
        for _ in range(IMAGES // BATCH):
            features, added = _pairs(old, new, to_rgb, cfg)
            rows, columns = rows + features.t() @ features, columns + features.t() @ added
        assert isinstance(rows, Tensor)
        ridge = RIDGE * rows.diagonal().mean() * torch.eye(len(rows), dtype=rows.dtype)
        change = torch.linalg.solve(rows + ridge, columns).t().to(to_rgb.weight.dtype)  # [C, I + 1]
        to_rgb.weight += change[:, :-1, None, None]
        to_rgb.bias += change[:, -1]


def _pairs(old: StyleGenerator, new: StyleGenerator, to_rgb: Any, cfg: Any) -> tuple[Tensor, Tensor]:
    """What toRGB multiplies, with a 1 for its bias: [P, I + 1], and what the removed levels add: [P, C]."""
    z = torch.randn(BATCH, new.z_dim)
    label = torch.eye(new.label_dim)[torch.arange(BATCH) % new.label_dim] if new.label_dim else None
    w = new.mapping(z, label)[:, 0]
    seen: list[Tensor] = []
    hook = to_rgb.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    lower = finest(new.synthesis(w[:, None].expand(-1, new.num_ws, -1), noise="fixed"))
    hook.remove()
    whole, enlarged = finest(old.synthesis(w[:, None].expand(-1, old.num_ws, -1), noise="fixed")), lower
    while enlarged.shape[2] < whole.shape[2]:
        enlarged = upsample2d(enlarged, cfg.resample_filter)
    added = F.avg_pool2d(whole - enlarged, whole.shape[2] // lower.shape[2])
    style = (to_rgb.affine(w) + 1) * to_rgb.scale
    features = seen[0] * style[:, :, None, None]
    features = torch.cat([features, torch.ones_like(features[:, :1])], 1)
    return tuple(x.permute(0, 2, 3, 1).flatten(0, 2).double() for x in (features, added))  # type: ignore[return-value]
