"""A network with two branches: its first stages exist once for sketches and once for photos, its later ones once.

Which network that is, is not decided here: any chain of named stages can be given branches.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from trazo.errors import InputError
from trazo.models.network import SHARED, StagedNetwork, outputs_of
from trazo.registry import unknown_name

# Their places are their numbers in data and batches.
DOMAINS = ("sketch", "photo")


class BranchedNetwork(StagedNetwork):
    """A network whose stages before `shared_from` exist twice, with the same weights at first.

    Each branch's own stages see the images of its domain alone, the shared ones see the whole batch in its order, so
    that their batch normalisation is over both domains. A feature may be taken before, at or after `shared_from`; one
    from before it comes from each image's own branch. The classifier is always shared. Where `shared_from` is the
    first stage nothing exists twice, and the network is as it was.

    Keys of its weights are `branches.sketch.<stage>.…`, `branches.photo.<stage>.…` and `stages.<stage>.…`.

    Parameters
    ----------
    network
        What is given branches; its stages become this network's.
    shared_from
        Name of the first stage that exists once.

    Raises
    ------
    InputError
        If the network has no such stage; the message lists those it has.

    References
    ----------
    Study `sbir`, stages 2 and 3.
    """

    def __init__(self, network: StagedNetwork, shared_from: str) -> None:
        names = list(network.stages)
        if shared_from not in names:
            raise InputError(f"shared_from: {unknown_name('stage', shared_from, names)}")
        first = names.index(shared_from)
        super().__init__({name: network.stages[name] for name in names[first:]}, network.foreign)
        own = nn.ModuleDict({name: network.stages[name] for name in names[:first]})
        self.branches = nn.ModuleDict({DOMAINS[0]: own, **{name: copy.deepcopy(own) for name in DOMAINS[1:]}})

    @property
    def parts(self) -> dict[str, list[str]]:
        """Names of the stages of "sketch", "photo" and "shared", in order; of the last alone if all are shared."""
        own = {domain: list(branch) for domain, branch in self.branches.items() if branch}
        return {**own, SHARED: list(self.stages)}

    def _outputs(
        self, images: torch.Tensor, domains: torch.Tensor | int | None, layer: str
    ) -> tuple[torch.Tensor, ...]:
        if len(self.parts) == 1:
            return super()._outputs(images, domains, layer)
        *feature, outputs = self._own_outputs(images, domains, layer)
        return *feature, *outputs_of(self.stages, outputs, layer)

    def _own_outputs(
        self, images: torch.Tensor, domains: torch.Tensor | int | None, layer: str
    ) -> tuple[torch.Tensor, ...]:
        """Return what `outputs_of` gives of the own stages, each image having passed through its branch's."""
        shares = _shares(domains, len(images))
        if len(shares) == 1:
            return outputs_of(self.branches[next(iter(shares))], images, layer)
        shares = {domain: rows.to(images.device, non_blocking=True) for domain, rows in shares.items()}
        found = [outputs_of(self.branches[domain], images[rows], layer) for domain, rows in shares.items()]
        rows = torch.cat(list(shares.values()))
        return tuple(_in_order(outputs, rows) for outputs in zip(*found, strict=True))


def _shares(domains: torch.Tensor | int | None, count: int) -> dict[str, torch.Tensor]:
    """Return the rows of each domain that a batch of `count` images has any of."""
    if domains is None:
        raise InputError(
            f"the network has branches for {' and '.join(DOMAINS)}, and nothing says which these images are; set "
            f"`domain` ({' or '.join(DOMAINS)}) on their dataset."
        )
    domains = domains if isinstance(domains, torch.Tensor) else torch.full((count,), domains)
    rows = [torch.nonzero(domains == number).flatten() for number in range(len(DOMAINS))]
    if domains.shape != (count,) or sum(map(len, rows)) != count:
        expected = " or ".join(f"{number} ({domain})" for number, domain in enumerate(DOMAINS))
        raise InputError(
            f"got domains {tuple(domains.shape)} of the values {domains.unique().tolist()} for {count} images; "
            f"expected one number an image, {expected}."
        )
    return {domain: own for domain, own in zip(DOMAINS, rows) if len(own)}


def _in_order(outputs: Sequence[torch.Tensor], rows: torch.Tensor) -> torch.Tensor:
    """Return the shares' outputs as one batch, each at its row."""
    joined = torch.cat(list(outputs))
    # Its gradient gathers, which is exact and quick on a GPU; that of an index would add.
    return torch.empty_like(joined).index_copy_(0, rows, joined)
