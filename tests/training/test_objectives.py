"""Objectives give the values that loops over pairs and triplets give, and gradients that are finite everywhere."""

import itertools
import math
import re

import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses, miners
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.reducers import MeanReducer, SumReducer
from trazo.errors import InputError
from trazo.training.objectives import Batch, facts_of, load_objectives, mixture, objectives

load_objectives()


def batch_of(count, groups=1, classes=3, width=5, seed=0):
    rng = np.random.default_rng(seed)
    labels = torch.from_numpy(rng.integers(0, classes, count))
    return Batch(
        labels,
        torch.from_numpy(rng.normal(size=(count, classes))),
        torch.from_numpy(rng.normal(size=(count, width))),
        groups,
    )


def loss_of(written, batch):
    return mixture(written).measure(batch).loss


def test_cross_entropy_by_hand():
    # p(true) is 1/2, 1/4 and 3/4: log 2, log 4 and log 4/3.
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0], [math.log(3), 0.0]])
    outcome = mixture("cross_entropy").measure(Batch(torch.tensor([0, 1, 0]), logits))
    assert outcome.loss.item() == pytest.approx((math.log(2) + math.log(4) + math.log(4 / 3)) / 3)
    assert outcome.correct == 2


# Pairs at distances 5 (3-4-5), 0, 0.6 and 10; the first two are of the same class.
PAIRS = Batch(
    torch.tensor([0, 1, 0, 1, 0, 1, 1, 2]),
    None,
    torch.tensor([[0.0, 0], [1, 1], [0, 0], [0, 0], [3, 4], [1, 1], [0.6, 0], [6, 8]]),
    2,
)


def test_contrastive_by_hand():
    assert loss_of("contrastive", PAIRS).item() == pytest.approx((5 + 0 + (1 - 0.6) + 0) / 4)
    assert loss_of({"contrastive": {"margin": 11}}, PAIRS).item() == pytest.approx((5 + 0 + 10.4 + 1) / 4)
    squared = loss_of({"contrastive": {"squared": True}}, PAIRS).item()
    assert squared == pytest.approx((25 / 2 + 0 + 0.4**2 / 2 + 0) / 4)


def test_contrastive_pairs_of_triplets_are_anchor_with_either():
    # Anchors (0, 0); positives at 5 and 0; negatives at 0.6 and 10.
    points = torch.tensor([[0.0, 0], [0, 0], [3, 4], [0, 0], [0.6, 0], [6, 8]])
    batch = Batch(torch.tensor([0, 1, 0, 1, 1, 2]), None, points, 3)
    assert loss_of("contrastive", batch).item() == pytest.approx((5 + 0 + 0.4 + 0) / 4)
    assert loss_of("triplet", batch).item() == pytest.approx(((1 + 5 - 0.6) + 0) / 2)
    assert loss_of({"triplet": {"margin": 0}}, batch).item() == pytest.approx((5 - 0.6) / 2)


def test_normalised_embeddings_are_of_length_one():
    # Directions at right angles are √2 apart, opposite ones 2, whatever their lengths.
    points = torch.tensor([[5.0, 0], [0.1, 0], [0, 7]])
    batch = Batch(torch.tensor([0, 0, 1]), None, points, 3)
    assert loss_of({"triplet": {"margin": 2, "normalise": True}}, batch).item() == pytest.approx(2 - math.sqrt(2))


def distances_of(points):
    return [[math.dist(a, b) for b in points] for a in points]


def hard_by_loops(points, labels, margin):
    far, losses = distances_of(points), []
    for a in range(len(labels)):
        positives = [far[a][i] for i in range(len(labels)) if labels[i] == labels[a] and i != a]
        negatives = [far[a][i] for i in range(len(labels)) if labels[i] != labels[a]]
        if positives and negatives:
            losses.append(max(0, margin + max(positives) - min(negatives)))
    return sum(losses) / max(len(losses), 1)


def semi_hard_by_loops(points, labels, margin):
    far, losses = distances_of(points), []
    for a, p in itertools.permutations(range(len(labels)), 2):
        negatives = [far[a][i] for i in range(len(labels)) if labels[i] != labels[a]]
        if labels[a] == labels[p] and negatives:
            farther = [d for d in negatives if d > far[a][p]]
            chosen = min(farther) if farther else max(negatives)
            losses.append(max(0, margin + far[a][p] - chosen))
    return sum(losses) / max(len(losses), 1)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("margin", [0.0, 0.3, 2.0])
@pytest.mark.parametrize(("mining", "oracle"), [("hard", hard_by_loops), ("semi_hard", semi_hard_by_loops)])
def test_mining_is_what_loops_find(mining, oracle, margin, seed):
    # Six classes of fifteen items: some are alone in theirs.
    batch = batch_of(15, classes=6, seed=seed)
    expected = oracle(batch.embeddings.tolist(), batch.labels.tolist(), margin)
    written = {"triplet": {"mining": mining, "margin": margin}}
    assert loss_of(written, batch).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("mining", ["hard", "semi_hard"])
@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]])
def test_a_batch_without_triplets_teaches_nothing(mining, labels):
    points = torch.rand(3, 2, requires_grad=True)
    loss = loss_of({"triplet": {"mining": mining}}, Batch(torch.tensor(labels), None, points))
    loss.backward()
    assert loss.item() == 0
    assert points.grad.abs().max() == 0


BY_DISTANCE = [
    ({"contrastive": {"margin": 3}}, 2),
    ({"contrastive": {"margin": 3, "squared": True, "normalise": True}}, 2),
    ({"contrastive": {"margin": 3}}, 3),
    ({"triplet": {"margin": 3}}, 3),
    ({"triplet": {"margin": 3, "normalise": True}}, 3),
    ({"triplet": {"margin": 3, "mining": "hard"}}, 1),
    ({"triplet": {"margin": 3, "mining": "semi_hard"}}, 1),
    ({"triplet": {"margin": 3, "mining": "semi_hard"}}, 3),
]


@pytest.mark.parametrize(("written", "groups"), BY_DISTANCE)
def test_gradients_are_those_of_differences(written, groups):
    batch = batch_of(12, groups)
    points = batch.embeddings.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda e: loss_of(written, Batch(batch.labels, None, e, groups)), points)


@pytest.mark.parametrize(("written", "groups"), BY_DISTANCE)
@pytest.mark.parametrize("value", [0.0, 1.0, 1e-30])
def test_gradients_are_finite_where_all_points_coincide(written, groups, value):
    points = torch.full((12, 4), value, requires_grad=True)
    loss_of(written, Batch(torch.arange(12) % 3, None, points, groups)).backward()
    assert torch.isfinite(points.grad).all()


def test_a_mixture_is_the_weighted_sum():
    batch = batch_of(12, 3)
    parts = [loss_of(name, batch) for name in ("cross_entropy", "triplet", "contrastive")]
    written = {"cross_entropy": {"weight": 0.4}, "triplet": {"weight": 0.6}, "contrastive": None}
    outcome = mixture(written).measure(batch)
    assert outcome.loss.item() == pytest.approx((0.4 * parts[0] + 0.6 * parts[1] + parts[2]).item())
    assert outcome.correct == (batch.logits.argmax(1) == batch.labels).sum()
    assert mixture("triplet").measure(batch).correct is None


@pytest.mark.parametrize("alpha", [0.4, 0.02])
def test_the_loss_of_study_sbir_is_a_sum_of_weighted_means(alpha):
    """α·(CE_sketch + CE_positive + CE_negative) + (1 − α)·max(0, λ + D(a, p) − D(a, n)), mean over the triplets."""
    batch = batch_of(21, 3)
    logits, labels, points = batch.logits.numpy(), batch.labels.numpy(), batch.embeddings.numpy()
    entropies = [math.log(sum(math.exp(v) for v in row)) - row[own] for row, own in zip(logits, labels)]
    losses = []
    for a, p, n in zip(range(7), range(7, 14), range(14, 21)):
        triplet = max(0.0, 0.7 + math.dist(points[a], points[p]) - math.dist(points[a], points[n]))
        losses.append(alpha * (entropies[a] + entropies[p] + entropies[n]) + (1 - alpha) * triplet)
    written = {"cross_entropy": {"weight": 3 * alpha}, "triplet": {"weight": 1 - alpha, "margin": 0.7}}
    assert loss_of(written, batch).item() == pytest.approx(sum(losses) / 7, rel=1e-5)


def test_how_triplets_are_drawn_reaches_their_sampling():
    assert mixture("triplet").sampling_options == {"draw": "classes"}
    mixed = mixture({"cross_entropy": {}, "contrastive": {}, "triplet": {"draw": "instances"}})
    assert (mixed.sampling, mixed.sampling_options) == ("triplets", {"draw": "instances"})
    needed = [mixture(name).smallest_photos for name in ("cross_entropy", "contrastive", "triplet")]
    assert needed == [0, 1, 1]
    assert mixed.smallest_photos == 2
    assert (mixed.needs_instances, mixture("triplet").needs_instances) == (True, False)
    assert mixture({"contrastive": {}, "triplet": {"mining": "hard"}}).smallest_photos is None


@pytest.mark.parametrize(
    ("written", "sampling", "logits", "embeddings", "smallest"),
    [
        ("cross_entropy", "items", True, False, 1),
        ("contrastive", "pairs", False, True, 2),
        ("triplet", "triplets", False, True, 3),
        ({"triplet": {"mining": "hard", "per_class": 5}}, "balanced", False, True, 10),
        ({"cross_entropy": {}, "contrastive": {}}, "pairs", True, True, 2),
        ({"cross_entropy": {}, "triplet": {}}, "triplets", True, True, 3),
        ({"cross_entropy": {}, "triplet": {"mining": "semi_hard"}}, "balanced", True, True, 8),
        ({"contrastive": {}, "triplet": {}}, "triplets", False, True, 3),
        ({"contrastive": {}, "triplet": {"mining": "hard"}}, "triplets", False, True, 3),
        ({"pml:CircleLoss": {"per_class": 3}}, "balanced", False, True, 6),
        ({"pml:CircleLoss": {}, "pml:NTXentLoss": {"per_class": 5}}, "balanced", False, True, 10),
    ],
)
def test_the_most_demanding_objective_decides_the_sampling(written, sampling, logits, embeddings, smallest):
    assert mixture(written).sampling == sampling
    facts = facts_of(written)
    assert (facts["uses_logits"], facts["uses_embeddings"], facts["smallest_batch"]) == (logits, embeddings, smallest)
    assert sampling in facts["samplings"]
    assert facts["objectives"] == sorted([written] if isinstance(written, str) else written)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("tripet", "unknown objective 'tripet'.*'triplet'"),
        ({"triplet": {"margn": 1}}, "triplet: unknown option 'margn'.*'margin'"),
        ({"triplet": {"margin": -0.1}}, "triplet: option 'margin': got -0.1"),
        ({"contrastive": {"margin": float("nan")}}, "contrastive: option 'margin'"),
        ({"triplet": {"mining": "soft"}}, "option 'mining': got 'soft'.*semi_hard"),
        ({"triplet": {"draw": "instance"}}, "option 'draw': got 'instance'.*instances"),
        ({"triplet": {"draw": "instances", "mining": "hard"}}, "triplet: draw: instances needs mining: none, got hard"),
        ({"cross_entropy": {"weight": -1}}, "cross_entropy: option 'weight': got -1"),
        ({"cross_entropy": {"weight": 0}}, "cross_entropy: every weight is 0"),
        ({"cross_entropy": {"margin": 1}}, "unknown option 'margin'"),
        ({}, "no objective"),
        ("cross_entropy:hard", "nothing stands after cross_entropy"),
        ("pml", "no loss; name one after a colon.*TripletMarginLoss"),
        ("pml:MultiSimilartyLoss", "unknown loss 'MultiSimilartyLoss'. Did you mean 'MultiSimilarityLoss'"),
        ({"pml:CircleLoss": {"loss": "CircleLoss"}}, "pml:CircleLoss: names its loss already"),
        (
            {"pml:MultiSimilarityLoss": {"options": {"alpa": 2}}},
            "unknown option of MultiSimilarityLoss 'alpa'. Did you mean 'alpha'.*alpha, base, beta, distance",
        ),
        (
            {"pml:TripletMarginLoss": {"miner": "MultiSimilarityMine"}},
            "unknown miner 'MultiSimilarityMine'. Did you mean 'MultiSimilarityMiner'",
        ),
        (
            {"pml:TripletMarginLoss": {"miner": "AngularMiner", "miner_options": {"angel": 3}}},
            "unknown option of AngularMiner 'angel'. Did you mean 'angle'",
        ),
        ({"pml:TripletMarginLoss": {"miner_options": {"angle": 3}}}, "miner_options without a miner"),
        ({"pml:TripletMarginLoss": {"options": {"margin": -0.1}}}, "option 'margin': got -0.1; expected a margin of 0"),
        ({"pml:TripletMarginLoss": {"per_class": 1}}, "option 'per_class': got 1"),
        ({"pml:TripletMarginLoss": {"options": {"distance": "Cosine"}}}, "unknown distance 'Cosine'"),
        ({"pml:TripletMarginLoss": {"options": {"distance": 3}}}, "distance: got 3; expected a name"),
        ({"pml:TripletMarginLoss": {"options": {"reducer": "DoNothingReducer"}}}, "gives no single number"),
        ("pml:ArcFaceLoss", "ArcFaceLoss has parameters of its own"),
        ("pml:ProxyNCALoss", "ProxyNCALoss has parameters of its own"),
        ("pml:SoftTripleLoss", "SoftTripleLoss has parameters of its own"),
        ({"pml:MarginLoss": {"options": {"learn_beta": True, "num_classes": 3}}}, "parameters of its own"),
        ("pml:VICRegLoss", "VICRegLoss cannot learn from one batch of embeddings and their labels"),
        ("pml:CrossBatchMemory", "CrossBatchMemory is made of other losses"),
        ("pml:MultipleLosses", "MultipleLosses is made of other losses"),
        ("pml:DynamicSoftMarginLoss", "DynamicSoftMarginLoss remembers batches"),
        ("pml:RankedListLoss", "RankedListLoss needs the options margin and Tn"),
        (
            {"pml:TripletMarginLoss": {"miner": "EmbeddingsAlreadyPackagedAsTriplets"}},
            "takes items for pairs by their place",
        ),
    ],
)
def test_mistakes_are_named(written, words):
    with pytest.raises(InputError, match=words):
        mixture(written)


# One of each; of pytorch-metric-learning's, a loss that does not scale embeddings first.
UNSCALED = {"distance": {"LpDistance": {"normalize_embeddings": False}}, "reducer": "MeanReducer"}
ONE_OF_EACH = [
    {"pml:TripletMarginLoss": {"options": UNSCALED}} if name == "pml" else name for name in objectives.names()
]


@pytest.mark.parametrize("name", ONE_OF_EACH, ids=str)
def test_bfloat16_outputs_are_measured_in_float32(name):
    batch = batch_of(12, 3)
    coarse = Batch(batch.labels, batch.logits.bfloat16(), batch.embeddings.bfloat16(), 3)
    exact = Batch(batch.labels, coarse.logits.double(), coarse.embeddings.double(), 3)
    assert loss_of(name, coarse).dtype == torch.float32
    assert loss_of(name, coarse).item() == pytest.approx(loss_of(name, exact).item(), rel=1e-5)


def test_every_loss_of_the_package_can_be_used_or_says_why_not():
    from trazo.training import borrowed

    reasons = "parameters of its own|cannot learn from one batch|made of other|remembers batches|needs the option"
    usable, refused = [], {}
    for name in borrowed._known(borrowed.losses):
        try:
            usable.append(mixture(f"pml:{name}"))
        except InputError as error:
            refused[name] = str(error)
    assert len(usable) > 15
    assert all(re.search(reasons, why) for why in refused.values()), refused
    points = batch_of(12).embeddings
    batch = Batch(torch.arange(12) // 4, None, points)
    assert all(torch.isfinite(part.measure(batch).loss) for part in usable)


def test_contrastive_is_the_package_s():
    """Its mean over positive pairs and its mean over negative ones, each weighed by their number."""
    batch = batch_of(24, 2, classes=2)
    first = torch.arange(12)
    same = batch.labels[:12] == batch.labels[12:]
    pairs = first[same], first[same] + 12, first[~same], first[~same] + 12
    distance = LpDistance(normalize_embeddings=False)
    theirs = losses.ContrastiveLoss(neg_margin=3, distance=distance, reducer=SumReducer())
    expected = theirs(batch.embeddings, batch.labels, pairs).item() / 12
    assert 0 < same.sum() < 12
    assert loss_of({"contrastive": {"margin": 3}}, batch).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("normalise", [False, True])
def test_triplets_and_batch_hard_are_the_package_s(normalise):
    settings = {"distance": LpDistance(normalize_embeddings=normalise), "reducer": MeanReducer()}
    theirs = losses.TripletMarginLoss(margin=0.7, **settings)
    mine = {"margin": 0.7, "normalise": normalise}
    batch = batch_of(18, 3)
    triplets = tuple(torch.arange(18).chunk(3))
    expected = theirs(batch.embeddings, batch.labels, triplets).item()
    assert loss_of({"triplet": mine}, batch).item() == pytest.approx(expected, rel=1e-9)
    batch = batch_of(18, classes=4)
    miner = miners.BatchHardMiner(distance=LpDistance(normalize_embeddings=normalise))
    expected = theirs(batch.embeddings, batch.labels, miner(batch.embeddings, batch.labels)).item()
    assert loss_of({"triplet": {**mine, "mining": "hard"}}, batch).item() == pytest.approx(expected, rel=1e-9)


def test_a_borrowed_loss_is_what_the_package_computes():
    batch = batch_of(18, classes=4)
    miner = miners.MultiSimilarityMiner(epsilon=0.2)
    theirs = losses.MultiSimilarityLoss(alpha=1, beta=40)
    expected = theirs(batch.embeddings, batch.labels, miner(batch.embeddings, batch.labels)).item()
    written = {
        "options": {"alpha": 1, "beta": 40}, "miner": "MultiSimilarityMiner", "miner_options": {"epsilon": 0.2},
        "weight": 0.25,
    }  # fmt: skip
    assert loss_of({"pml:MultiSimilarityLoss": written}, batch).item() == pytest.approx(0.25 * expected, rel=1e-12)


def test_a_miner_that_draws_at_random_draws_by_torch_s_seed():
    found = mixture({"pml:MarginLoss": {"miner": "DistanceWeightedMiner"}})
    batch = batch_of(24, classes=3)
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append([found.measure(batch).loss.item() for _ in range(3)])
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
