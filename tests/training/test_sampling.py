"""Samplings give what they promise, from seed and pass number alone."""

import numpy as np
import pytest
import torch
from trazo.errors import InputError
from trazo.training.joined import Members
from trazo.training.sampling import Items, Schedule, samplings


def items(count, size):
    return Items(Members(np.zeros(count), ["a"]), size)


@pytest.mark.parametrize(("count", "size"), [(193, 32), (64, 64), (5, 128), (3, 1), (2, 1)])
def test_every_item_comes_once_a_pass(count, size):
    batches = items(count, size).batches(seed=0, number=1)
    assert sorted(torch.cat(batches).tolist()) == list(range(count))
    if size > 1:
        assert all(len(batch) > 1 for batch in batches)
    assert [b.tolist() for b in batches] == [b.tolist() for b in items(count, size).batches(seed=0, number=1)]


def test_passes_and_seeds_shuffle_differently():
    orders = {
        (seed, number): tuple(torch.cat(items(100, 10).batches(seed=seed, number=number)).tolist())
        for seed in (0, 1, 2)
        for number in (0, 1, 2)
    }
    assert len(set(orders.values())) == 9


@pytest.mark.parametrize(("steps", "parts"), [(23, 4), (7, 7), (100, 3), (2, 1)])
def test_parts_follow_one_another_over_the_passes(steps, parts):
    sampling = items(193, 32)
    schedule = Schedule(sampling, parts, steps, 5)
    found = [rows.tolist() for part in range(1, parts + 1) for rows in schedule.batches(part)]
    every = [rows.tolist() for number in range(1, 20) for rows in sampling.batches(seed=5, number=number)]
    assert found == every[:steps]
    sizes = [len(schedule.batches(part)) for part in range(1, parts + 1)]
    assert max(sizes) - min(sizes) <= 1


def test_without_iterations_a_part_is_a_pass():
    sampling = items(10, 4)
    found = Schedule(sampling, 3, None, 1).batches(2)
    assert [rows.tolist() for rows in found] == [rows.tolist() for rows in sampling.batches(seed=1, number=2)]


# Five classes of 40, 30, 20, 10 and 5, shuffled; numbered with a gap, as a subset of a dataset's classes is.
LABELS = np.random.default_rng(1).permutation(np.repeat([0, 1, 2, 4, 5], [40, 30, 20, 10, 5]))
CLASSES = ["ant", "bee", "cat", "absent", "dog", "elk"]


def rows_of(kind, passes=range(1, 101), size=32, **options):
    """All rows of many passes: (groups, images that belong together)."""
    sampling = samplings.get(kind)(Members(LABELS, CLASSES), size, **options)
    batches = [b for number in passes for b in sampling.batches(seed=3, number=number)]
    return np.concatenate([b.numpy().reshape(sampling.groups, -1) for b in batches], axis=1)


def within(count, of, share):
    """Whether a count is within four standard deviations of a binomial's mean."""
    return abs(count - of * share) < 4 * (of * share * (1 - share)) ** 0.5


def test_pairs_are_of_the_same_class_by_a_fair_coin():
    first, second = rows_of("pairs")
    same = LABELS[first] == LABELS[second]
    assert len(first) == 100 * (len(LABELS) // 2)
    assert within(same.sum(), len(same), 0.5)
    assert (first != second).all()
    # Of the pairs of different classes, every other class is equally likely.
    of_ants = LABELS[second[(LABELS[first] == 0) & ~same]]
    for other in (1, 2, 4, 5):
        assert within((of_ants == other).sum(), len(of_ants), 1 / 4)


def test_an_item_s_positives_and_negatives_are_all_the_others():
    anchor, positive, negative = rows_of("triplets", range(1, 201))
    elk = np.flatnonzero(LABELS == 5)[0]
    assert sorted(set(positive[anchor == elk])) == [row for row in np.flatnonzero(LABELS == 5) if row != elk]
    assert set(negative[LABELS[anchor] == 0]) == set(np.flatnonzero(LABELS != 0))


def test_every_item_is_an_anchor_once_a_pass():
    anchor, positive, negative = rows_of("triplets", [7])
    assert sorted(anchor) == list(range(len(LABELS)))
    assert (LABELS[anchor] == LABELS[positive]).all()
    assert (anchor != positive).all()
    assert (LABELS[anchor] != LABELS[negative]).all()


def test_balanced_batches_have_p_classes_of_k_items():
    sampling = samplings.get("balanced")(Members(LABELS, CLASSES), 17, per_class=5)
    counts = np.zeros(len(LABELS), int)
    for number in range(1, 51):
        batches = sampling.batches(seed=0, number=number)
        assert len(batches) == len(LABELS) // 15
        for rows in batches:
            classes, times = np.unique(LABELS[rows], return_counts=True)
            assert times.tolist() == [5, 5, 5]
            assert len(set(rows.tolist())) == 15
            assert len(classes) == 3
            counts[rows] += 1
    # Three of the five classes, drawn anew for each of 350 batches.
    assert all(within(counts[label == LABELS].sum() / 5, 350, 3 / 5) for label in (0, 1, 2, 4, 5))
    assert counts.min() > 0


@pytest.mark.parametrize("kind", samplings.names())
def test_a_pass_depends_on_seed_and_number_alone_and_has_always_as_many_batches(kind):
    sampling = samplings.get(kind)(Members(LABELS, CLASSES), 16)
    other = samplings.get(kind)(Members(LABELS, CLASSES), 16)
    other.batches(seed=9, number=9)

    def flat(sampling, seed, number):
        return [rows.tolist() for rows in sampling.batches(seed=seed, number=number)]

    assert flat(sampling, 1, 2) == flat(other, 1, 2)
    passes = [flat(sampling, seed, number) for seed in (1, 2) for number in (1, 2)]
    assert len({str(rows) for rows in passes}) == 4
    assert len({len(rows) for rows in passes}) == 1
    assert all(2 <= len(rows) <= 17 for rows in passes[0])
    seen = {"items": 105, "pairs": 104, "triplets": 315, "balanced": 96}[kind]
    assert sum(map(len, passes[0])) == seen


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("pairs", {}, r"2 images of every class.*dog \(1\), elk \(1\)"),
        ("triplets", {}, r"dog \(1\)"),
        ("balanced", {"per_class": 3}, r"3 images of every class.*cat \(2\), dog \(1\)"),
    ],
)
def test_classes_with_too_few_images_are_named(kind, options, words):
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 2, 4, 5])
    with pytest.raises(InputError, match=words):
        samplings.get(kind)(Members(labels, CLASSES), 32, **options)


def test_one_class_and_no_room_are_refused():
    with pytest.raises(InputError, match="2 classes; got 1"):
        samplings.get("pairs")(Members(np.zeros(5), CLASSES), 32)
    with pytest.raises(InputError, match=r"batch of 7.*at least 8"):
        samplings.get("balanced")(Members(LABELS, CLASSES), 7, per_class=4)


# Four classes of 1, 2, 3 and 4 objects. Every object has a photo (the last one two) and 1 to 3 sketches.
OBJECTS = np.repeat([0, 1, 2, 3], [1, 2, 3, 4])
OF_PHOTOS = np.random.default_rng(2).permutation([*range(10), 9])
OF_SKETCHES = np.random.default_rng(3).permutation(np.repeat(np.arange(10), np.arange(10) % 3 + 1))
NAMES = ["ant", "bee", "cat", "dog"]


def crossed(sketches=OF_SKETCHES, photos=OF_PHOTOS, **changes):
    """Sketches and photos of these objects, in mixed order."""
    objects = np.concatenate([sketches, photos])
    domains = np.repeat([0, 1], [len(sketches), len(photos)]).astype(np.uint8)
    order = np.random.default_rng(4).permutation(len(objects))
    ids = [f"{'sp'[domain]}{number}" for domain, number in zip(domains, objects)]
    known = {"domains": domains[order], "instances": objects[order], "ids": [ids[i] for i in order], **changes}
    return Members(OBJECTS[objects][order], NAMES, **known)


# Without the class of one object, which has no other photo to be told from.
WITHOUT_ANT = crossed(OF_SKETCHES[OF_SKETCHES > 0])


def groups_of(kind, members, passes, size=9, **options):
    sampling = samplings.get(kind)(members, size, **options)
    batches = [b for number in passes for b in sampling.batches(seed=3, number=number)]
    return np.concatenate([b.numpy().reshape(sampling.groups, -1) for b in batches], axis=1)


@pytest.mark.parametrize("draw", ["classes", "instances"])
def test_every_sketch_is_an_anchor_once_a_pass_and_photos_are_its_partners(draw):
    anchor, positive, negative = groups_of("triplets", WITHOUT_ANT, [5], draw=draw)
    assert sorted(anchor) == list(np.flatnonzero(WITHOUT_ANT.domains == 0))
    assert (WITHOUT_ANT.domains[positive] == 1).all()
    assert (WITHOUT_ANT.domains[negative] == 1).all()
    assert (WITHOUT_ANT.labels[anchor] == WITHOUT_ANT.labels[positive]).all()


def test_of_classes_every_photo_of_the_class_is_as_likely_and_every_other_class():
    members = crossed()
    anchor, positive, negative = groups_of("triplets", members, range(300))
    of_dogs = members.labels[anchor] == 3
    photos = np.flatnonzero((members.domains == 1) & (members.labels == 3))
    assert len(photos) == 5
    assert all(within((positive[of_dogs] == photo).sum(), of_dogs.sum(), 1 / 5) for photo in photos)
    others = members.labels[negative[of_dogs]]
    assert all(within((others == label).sum(), of_dogs.sum(), 1 / 3) for label in (0, 1, 2))
    assert (members.labels[negative] != members.labels[anchor]).all()
    cats = np.flatnonzero((members.domains == 1) & (members.labels == 2))
    assert all(within((negative[of_dogs] == photo).sum(), of_dogs.sum(), 1 / 9) for photo in cats)


def test_of_instances_the_very_photo_is_positive_and_half_of_the_negatives_are_of_the_class():
    members = WITHOUT_ANT
    anchor, positive, negative = groups_of("triplets", members, range(400), draw="instances")
    assert (members.instances[positive] == members.instances[anchor]).all()
    assert (members.instances[negative] != members.instances[anchor]).all()
    near = members.labels[negative] == members.labels[anchor]
    assert within(near.sum(), len(near), 0.5)
    # The last object has two photos: both are its sketches' positives, and neither is their negative.
    twins = np.flatnonzero((members.domains == 1) & (members.instances == 9))
    of_twins = members.instances[anchor] == 9
    assert within((positive[of_twins] == twins[0]).sum(), of_twins.sum(), 0.5)
    assert set(positive[of_twins]) == set(twins)
    # Every other photo of the class is as likely, wherever the own one stands among them.
    for number in (6, 7, 8, 9):
        chosen = negative[near & (members.instances[anchor] == number)]
        others = [r for r in np.flatnonzero((members.domains == 1) & (members.labels == 3))
                  if members.instances[r] != number]  # fmt: skip
        assert set(chosen) == set(others)
        assert all(within((chosen == row).sum(), len(chosen), 1 / len(others)) for row in others)
    far = members.labels[negative[~near & (members.labels[anchor] == 3)]]
    assert all(within((far == label).sum(), len(far), 1 / 3) for label in (0, 1, 2))


def test_pairs_of_a_sketch_and_a_photo():
    members = crossed()
    first, second = groups_of("pairs", members, range(200))
    assert sorted(first[: len(OF_SKETCHES)]) == list(np.flatnonzero(members.domains == 0))
    assert len(first) == 200 * len(OF_SKETCHES)
    assert (members.domains[second] == 1).all()
    same = members.labels[first] == members.labels[second]
    assert within(same.sum(), len(same), 0.5)


def test_items_of_both_domains_come_shuffled_once_a_pass():
    members = crossed()
    (rows,) = samplings.get("items")(members, 100).batches(seed=0, number=1)
    assert sorted(rows.tolist()) == list(range(len(members)))
    assert len(set(members.domains[rows[:8]].tolist())) == 2


@pytest.mark.parametrize(("kind", "options"), [("pairs", {}), ("triplets", {}), ("triplets", {"draw": "instances"})])
def test_passes_across_domains_depend_on_seed_and_number_alone(kind, options):
    one, other = (samplings.get(kind)(WITHOUT_ANT, 12, **options) for _ in range(2))
    other.batches(seed=8, number=8)
    passes = [[b.tolist() for b in one.batches(seed=s, number=n)] for s in (1, 2) for n in (1, 2)]
    assert passes == [[b.tolist() for b in other.batches(seed=s, number=n)] for s in (1, 2) for n in (1, 2)]
    assert len({str(found) for found in passes}) == 4
    assert len({len(found) for found in passes}) == 1


def test_photos_alone_are_sampled_as_images_of_no_domain():
    photos = Members(LABELS, CLASSES, domains=np.ones(len(LABELS), np.uint8))
    for kind in samplings.names():
        found = [samplings.get(kind)(each, 16).batches(seed=1, number=1) for each in (photos, Members(LABELS, CLASSES))]
        assert [b.tolist() for b in found[0]] == [b.tolist() for b in found[1]]


def test_what_cannot_be_drawn_of_sketches_and_photos_is_named():
    def triplets(members, draw="instances"):
        return samplings.get("triplets")(members, 9, draw=draw)

    with pytest.raises(InputError, match="2 objects of every class; of one object are those of: ant"):
        triplets(crossed())
    with pytest.raises(InputError, match=r"3 of 18 sketches have no photo .*: s8, s8, s8\. Add"):
        triplets(crossed(OF_SKETCHES[OF_SKETCHES > 0], OF_PHOTOS[OF_PHOTOS != 8]))
    with pytest.raises(InputError, match=r"19 of 19 sketches .* and 9 more"):
        triplets(crossed(instances=np.full(30, -1)))
    with pytest.raises(InputError, match="both datasets' `instance`"):
        triplets(crossed(instances=None))
    with pytest.raises(InputError, match="needs sketches and photos"):
        triplets(Members(np.repeat(OBJECTS, 2), NAMES, instances=np.arange(20)))
    for kind in ("pairs", "triplets"):
        with pytest.raises(InputError, match=r"a photo of every class; too few of: bee \(0\)"):
            samplings.get(kind)(crossed(photos=OF_PHOTOS[OBJECTS[OF_PHOTOS] != 1]), 9)
    with pytest.raises(InputError, match="within a batch go by class alone"):
        samplings.get("balanced")(crossed(), 9, per_class=2)


def test_a_photo_of_an_unknown_object_is_another_one():
    members = WITHOUT_ANT
    unknown = np.flatnonzero((members.domains == 1) & (members.instances == 7))
    instances = members.instances.copy()
    instances[unknown] = -1
    kept = (members.domains == 1) | (members.instances != 7)
    fewer = Members(members.labels[kept], NAMES, members.domains[kept], instances[kept])
    anchor, positive, negative = groups_of("triplets", fewer, range(100), draw="instances")
    row = np.flatnonzero(fewer.instances == -1)[0]
    assert row not in positive
    assert row in negative[fewer.labels[anchor] == 3]


def test_how_many_photos_a_class_needs():
    assert samplings.get("items").smallest_photos() == 0
    assert samplings.get("pairs").smallest_photos() == 1
    assert samplings.get("triplets").smallest_photos() == 1
    assert samplings.get("triplets").smallest_photos(draw="instances") == 2
    assert samplings.get("balanced").smallest_photos(per_class=3) is None
