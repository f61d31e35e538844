"""What a learner gives its network: images, augmented in training alone, and their domains where it has branches."""

import pytest
import torch
from torch import nn
from trazo.models.network import StagedNetwork
from trazo.training.augment import augmenter
from trazo.training.learner import Learner
from trazo.training.objectives import mixture


class Mean(nn.Module):
    def forward(self, images):
        return images.flatten(1).mean(dim=1, keepdim=True)


class Branched(StagedNetwork):
    """Mean brightness, a thousand higher for photos."""

    def forward(self, images, domains):
        return super().forward(images) + 1000.0 * domains[:, None]

    def embed(self, images, layer, domains):
        feature, logits = super().embed(images, layer)
        return feature + 1000.0 * domains[:, None], logits + 1000.0 * domains[:, None]


def learner(network, objective="cross_entropy", **changes):
    head = nn.Linear(1, 2, bias=False)
    nn.init.ones_(head.weight)
    made = network({"mean": Mean(), "head": head})
    return Learner(
        made, torch.optim.SGD(made.parameters(), lr=0.1), mixture(objective), "mean", 1, 8, None, torch.device("cpu"),
        torch.float32, **changes,
    )  # fmt: skip


# Three grey images of brightness 0, 51 and 255; the second is a photo.
PIXELS = torch.tensor([0, 51, 255], dtype=torch.uint8)[:, None, None].expand(3, 8, 8)
DOMAINS = torch.tensor([0, 1, 0], dtype=torch.uint8)


def test_a_network_with_branches_is_told_the_domains():
    logits, embeddings = learner(Branched).outputs(PIXELS, DOMAINS)
    assert embeddings is None
    torch.testing.assert_close(logits, torch.tensor([[0.0, 0], [1000.2, 1000.2], [1, 1]]))
    logits, embeddings = learner(Branched, {"triplet": {}}).outputs(PIXELS, DOMAINS)
    torch.testing.assert_close(embeddings, torch.tensor([[0.0], [1000.2], [1]]))
    torch.testing.assert_close(logits, torch.tensor([[0.0, 0], [1000.2, 1000.2], [1, 1]]))
    # Anchor 0, positive 1000.2, negative 1: 1 + 1000.2 − 1.
    outcome = learner(Branched, {"triplet": {}}).outcome(PIXELS, torch.tensor([0, 0, 1]), 3, domains=DOMAINS)
    assert outcome.loss.item() == pytest.approx(1000.2, rel=1e-5)


def test_a_network_without_branches_sees_images_alone():
    for domains in (None, DOMAINS):
        logits, _ = learner(StagedNetwork).outputs(PIXELS, domains)
        torch.testing.assert_close(logits, torch.tensor([[0.0, 0], [0.2, 0.2], [1, 1]]))


def test_images_are_augmented_only_with_something_to_draw_from():
    lined = torch.full((3, 8, 8), 255, dtype=torch.uint8)
    lined[:, 4] = 0
    kept = lined.clone()
    erased = learner(StagedNetwork, augmenter=augmenter({"erase": {"probability": 1, "side": 0.99}}))
    plain, _ = erased.outputs(lined, DOMAINS)
    torch.testing.assert_close(plain, torch.full((3, 2), 7 / 8))
    changed, _ = erased.outputs(lined, DOMAINS, torch.Generator().manual_seed(0))
    assert (changed[[0, 2]] > 7 / 8 + 0.01).all()
    torch.testing.assert_close(changed[1], plain[1])
    assert torch.equal(lined, kept)
    without, _ = learner(StagedNetwork).outputs(lined, DOMAINS, torch.Generator().manual_seed(0))
    torch.testing.assert_close(without, plain)
