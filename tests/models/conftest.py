"""Fixtures of the tests of networks."""

from collections.abc import Callable

import pytest
import torch
from torch import nn


def _alive(network: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low, high in (
                (module.weight, 0.5, 1.0), (module.bias, -0.2, 0.2), (module.running_mean, -0.3, 0.3),
                (module.running_var, 0.5, 1.5),
            ):  # fmt: skip
                values.data.uniform_(low, high, generator=generator)
    return network.eval()


@pytest.fixture(scope="session")
def alive() -> Callable[..., nn.Module]:
    """Give a network's normalisations something to do: statistics and factors that are not 0 and 1."""
    return _alive
