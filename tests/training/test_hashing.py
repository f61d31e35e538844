"""Hashing objectives give the numbers worked by hand, gradients of differences, and stay finite with many bits."""

import math

import numpy as np
import pytest
import torch
from trazo.errors import InputError
from trazo.training.objectives import Batch, facts_of, mixture

# One triplet of 2 outputs and one of small ones: queries, positives, negatives.
TRIPLETS = torch.tensor([[1.0, -2.0], [0.5, 0.0], [0.5, -1.0], [0.25, 1.0], [-1.0, 3.0], [-0.5, -0.5]]).double()


def loss_of(written, values, groups=3):
    return mixture(written).measure(Batch(torch.arange(len(values)) % 2, None, values, groups)).loss


def random_triplets(count=4, bits=6, scale=1.0, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(3 * count, bits)) * scale)


def test_dsh_by_hand():
    # ‖q−p‖²: ¼ + 1 = 1.25 and 1/16 + 1; ‖q−n‖²: 4 + 25 = 29 and 1 + ¼; the margin is 2·2 = 4.
    hinge = [max(0, 4 - 29 + 1.25) / 2, max(0, 4 - 1.25 + 1.0625) / 2]
    off = [(0 + 1) + (0.5 + 0) + (0 + 2), (0.5 + 1) + (0.75 + 0) + (0.5 + 0.5)]
    assert hinge == [0, 1.90625]
    expected = sum(h + 0.01 * o for h, o in zip(hinge, off)) / 2 / 2
    assert loss_of("dsh", TRIPLETS).item() == pytest.approx(expected, rel=1e-12)
    expected = sum(h + 0.5 * o for h, o in zip([(30 - 29 + 1.25) / 2, (30 - 1.25 + 1.0625) / 2], off)) / 2 / 2
    found = loss_of({"dsh": {"margin": 30, "regularisation": 0.5}}, TRIPLETS).item()
    assert found == pytest.approx(expected, rel=1e-12)


def test_dtsh_by_hand():
    # Θ_qp − Θ_qn: ½·(½ + 2) − ½·(−1 − 6) = 4.75 and ½·(1/8 + 0) − ½·(−¼ + 0) = 3/16; the margin is 1.
    terms = [math.log(1 + math.exp(x)) - x for x in (4.75 - 1, 0.1875 - 1)]
    # Signs of 0 are −1, as bits have it: (0 − (−1))² = 1.
    off = [(0 + 1) + (0.25 + 0) + (0 + 4), (0.25 + 1) + (0.5625 + 0) + (0.25 + 0.25)]
    expected = sum(t + o for t, o in zip(terms, off)) / 2 / 2
    assert loss_of("dtsh", TRIPLETS).item() == pytest.approx(expected, rel=1e-12)
    terms = [math.log(1 + math.exp(x)) - x for x in (4.75 - 3, 0.1875 - 3)]
    expected = sum(t + 0.2 * o for t, o in zip(terms, off)) / 2 / 2
    found = loss_of({"dtsh": {"margin": 3, "regularisation": 0.2}}, TRIPLETS).item()
    assert found == pytest.approx(expected, rel=1e-12)


def test_dtsh_per_bit_by_hand():
    shares = [4.75 / 2, 0.1875 / 2]
    terms = [math.log(1 + math.exp((0.5 - s) * 32)) / 32 for s in shares]
    found = loss_of({"dtsh": {"per_bit": True, "regularisation": 0}}, TRIPLETS).item()
    assert found == pytest.approx(sum(terms) / 2, rel=1e-9)
    terms = [0.25 * math.log(1 + math.exp((0.1 - s) / 0.25)) for s in shares]
    written = {"per_bit": True, "regularisation": 0, "temperature": 0.25, "margin": 0.1}
    assert loss_of({"dtsh": written}, TRIPLETS).item() == pytest.approx(sum(terms) / 2, rel=1e-12)


@pytest.mark.parametrize("bits", [2, 16, 128, 2048])
def test_per_bit_with_a_temperature_of_one_bit_is_the_published_loss(bits):
    values = random_triplets(5, bits)
    written = {"per_bit": True, "temperature": 1 / bits, "margin": 0.3, "regularisation": 0.7}
    published = loss_of({"dtsh": {"margin": 0.3 * bits, "regularisation": 0.7}}, values)
    assert loss_of({"dtsh": written}, values).item() == pytest.approx(published.item(), rel=1e-12)


@pytest.mark.parametrize("repeats", [1, 8, 128])
def test_per_bit_means_the_same_for_any_number_of_bits(repeats):
    """The same 16 outputs over and over are codes as good as these; the published loss says otherwise."""
    values = random_triplets(5, 16)
    long = values.repeat(1, repeats)
    per_bit = {"dtsh": {"per_bit": True}}
    assert loss_of(per_bit, long).item() == pytest.approx(loss_of(per_bit, values).item(), rel=1e-9)
    if repeats > 1:
        assert abs(loss_of("dtsh", long).item() - loss_of("dtsh", values).item()) > 1e-4


def pull(written, bits):
    """The gradient, summed over bits, of finished codes that are right by a little more than the margin."""
    query = torch.ones(1, bits)
    positive = query.clone()
    negative = query.clone()
    negative[:, : round(0.56 * bits)] = -1
    values = torch.cat([query, positive, negative]).requires_grad_()
    loss_of(written, values).backward()
    return float(values.grad[0].abs().sum())


def test_only_per_bit_still_draws_long_codes_that_are_barely_right():
    assert pull("dtsh", 16) > 0.01
    assert pull("dtsh", 2048) < 1e-12
    assert pull({"dtsh": {"per_bit": True}}, 2048) == pytest.approx(pull({"dtsh": {"per_bit": True}}, 128), rel=0.1)
    assert pull({"dtsh": {"per_bit": True}}, 2048) > 0.01


HASHING = ["dsh", {"dsh": {"margin": 3}}, "dtsh", {"dtsh": {"margin": 0}}, {"dtsh": {"per_bit": True}}]


@pytest.mark.parametrize("written", HASHING, ids=str)
def test_gradients_are_those_of_differences(written):
    points = random_triplets(scale=0.8, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda values: loss_of(written, values), points)


@pytest.mark.parametrize("written", HASHING, ids=str)
@pytest.mark.parametrize("value", [0.0, 1.0, -1e-30, 50.0, 1e6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loss_and_gradients_are_finite_with_2048_bits(written, value, dtype):
    """Outputs that all coincide, and opposite ones: Θ is a hundred million million, and e^Θ no number."""
    same = torch.full((6, 2048), value)
    wrong, right = torch.cat([same[:2], -same[:2], same[:2]]), torch.cat([same[:4], -same[:2]])
    for values in (same, wrong, right):
        points = values.to(dtype).requires_grad_()
        loss = loss_of(written, points)
        loss.backward()
        assert loss.dtype == torch.float32
        assert torch.isfinite(loss)
        assert torch.isfinite(points.grad).all()


def test_dtsh_of_many_bits_is_what_exact_arithmetic_gives():
    """x = Θ_qp − Θ_qn − a of 2,048 bits is −3072 and 1024: 3072 and e^−1024, which is 0."""
    query = torch.ones(2, 2048)
    values = torch.cat([query, torch.tensor([[-1.0], [1.0]]) * query, torch.tensor([[1.0], [-1.0]]) * query])
    assert loss_of("dtsh", values).item() == pytest.approx((3072 + 0) / 2 / 2048, rel=1e-6)


@pytest.mark.parametrize(("name", "alpha"), [("dsh", 0.4), ("dtsh", 0.02)])
def test_the_loss_of_study_sbir_is_a_weighted_sum(name, alpha):
    """α·L/D + (1 − α)·CE, cross-entropy the mean over the images of all triplets."""
    values, logits = random_triplets(4, 8), random_triplets(4, 3, seed=1)
    labels = torch.arange(12) % 3
    entropies = [math.log(sum(math.exp(v) for v in row)) - row[own] for row, own in zip(logits.tolist(), labels)]
    written = {name: {"weight": alpha}, "cross_entropy": {"weight": 1 - alpha}}
    found = mixture(written).measure(Batch(labels, logits, values, 3)).loss.item()
    assert found == pytest.approx(alpha * loss_of(name, values).item() + (1 - alpha) * np.mean(entropies), rel=1e-5)


@pytest.mark.parametrize("name", ["dsh", {"dtsh": {"per_bit": True}}], ids=str)
def test_bits_are_learned(name):
    """A few steps on free outputs: in the end negatives differ from queries by a quarter of the bits more."""
    points = random_triplets(3, 32, 0.3).float().requires_grad_()
    optimizer = torch.optim.Adam([points], 0.05)
    for _ in range(150):
        optimizer.zero_grad()
        loss_of(name, points).backward()
        optimizer.step()
    query, positive, negative = (points.detach() > 0).chunk(3)
    assert ((query != negative).sum(1) - (query != positive).sum(1) > 8).all()


def separation(written, bits, steps=160):
    """Per cent of bits that differ between classes less those within, of a linear layer trained on made-up features."""
    torch.manual_seed(0)
    labels = torch.arange(400) % 20
    features = torch.relu(0.3 + torch.randn(400, 128) + 0.5 * torch.randn(20, 128)[labels])
    layer, classifier = torch.nn.Linear(128, bits), torch.nn.Linear(bits, 20)
    weights = {name: {"weight": 0.4, **options} for name, options in written.items()}
    learned = mixture({**weights, "cross_entropy": {"weight": 0.6}})
    optimizer = torch.optim.SGD([*layer.parameters(), *classifier.parameters()], 0.05, momentum=0.9)
    for _ in range(steps):
        anchors = torch.randint(400, (24,))
        positives, negatives = anchors + 20 * torch.randint(20, (24,)), anchors + torch.randint(1, 20, (24,))
        rows = torch.cat([anchors, positives, negatives]) % 400
        outputs = layer(features[rows])
        optimizer.zero_grad()
        learned.measure(Batch(labels[rows], classifier(outputs), outputs, 3)).loss.backward()
        optimizer.step()
    codes = (layer(features) > 0).float()
    apart = 100 * torch.cdist(codes, codes, p=0) / bits
    same = labels[:, None] == labels
    return float(apart[~same].mean() - apart[same].mean())


def test_long_codes_fall_into_one_as_published_and_not_per_bit():
    """As the study saw with many bits: the quadratic term decides, and codes part classes less than untrained ones."""
    published, per_bit = ({"dtsh": {"per_bit": whether}} for whether in (False, True))
    untrained = separation(published, 1024, steps=0)
    assert separation(published, 1024) < untrained / 2
    assert separation(per_bit, 1024) > untrained * 1.3
    assert separation(published, 32) > untrained * 2


@pytest.mark.parametrize("name", ["dsh", "dtsh"])
def test_triplets_are_drawn_as_the_triplet_loss_draws_them(name):
    facts = facts_of({name: {"draw": "instances"}, "cross_entropy": {}})
    assert facts["samplings"] == ["items", "triplets"]
    assert (facts["needs_instances"], facts["smallest_batch"], facts["smallest_photos"]) == (True, 3, 2)
    assert facts["uses_embeddings"]
    assert not facts_of(name)["needs_instances"]
    both = {name: {"draw": "instances"}, "triplet": {"draw": "instances"}}
    assert mixture(both).sampling_options == {"draw": "instances"}


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({"dsh": {"draw": "instances"}, "triplet": {}}, "same triplets.*dsh instances, triplet classes"),
        ({"dsh": {"margin": -1}}, "dsh: option 'margin': got -1"),
        ({"dtsh": {"lambda": 1}}, "dtsh: unknown option 'lambda'"),
        ({"dtsh": {"temperature": 0.1}}, "temperature is of `per_bit: true`"),
        ({"dtsh": {"per_bit": True, "temperature": 0}}, "dtsh: option 'temperature': got 0"),
        ("dhs", "unknown objective 'dhs'. Did you mean 'dsh'"),
    ],
)
def test_mistakes_are_named(written, words):
    with pytest.raises(InputError, match=words):
        mixture(written)
