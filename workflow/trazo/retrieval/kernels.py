"""Compiled inner loops over the rows of a block, for the CPU: each works on rows [start, stop) without the GIL.

What is computed, and why, is said where they are called (distances, ranking, metrics); nothing else belongs here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numba import njit
from numba.extending import intrinsic

SECOND_PART = 2.0**32
_SMALLEST_SHARE = 1 << 16
_pool: ThreadPoolExecutor | None = None
_pool_owner: int | None = None


def _threads() -> ThreadPoolExecutor:
    global _pool, _pool_owner
    if _pool is None or _pool_owner != os.getpid():
        # A pool does not survive a fork: a child that used its parent's would wait for ever.
        _pool, _pool_owner = ThreadPoolExecutor(os.cpu_count() or 1, "ranking"), os.getpid()
    return _pool


def over_rows(work: Callable[[int, int], None], rows: int, cost: int, threads: int) -> None:
    """Call `work(start, stop)` on shares of `rows` rows, `cost` elements each, in up to `threads` threads."""
    shares = min(threads, rows, rows * cost // _SMALLEST_SHARE)
    if shares <= 1:
        work(0, rows)
        return
    bounds = [rows * i // shares for i in range(shares + 1)]
    for _ in _threads().map(work, bounds[:-1], bounds[1:]):
        pass


def over_items(work: Callable[[Any], None], items: Sequence[Any], threads: int) -> None:
    """Call `work(item)` for all items, in up to `threads` threads, each of which takes the next when it is done."""
    if threads <= 1 or len(items) <= 1:
        for item in items:
            work(item)
        return
    # Taking the next of a list's iterator is one step that no other thread comes between.
    waiting = iter(items)

    def take(_: int) -> None:
        for item in waiting:
            work(item)

    for _ in _threads().map(take, range(threads)):
        pass


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def norms_and_sums(rows, start, stop, norms, sums):
    """Write the float64 sum of squares of rows [start, stop) into `norms`, and add the rows to `sums` (D,).

    NaN and infinity come through.
    """
    for i in range(start, stop):
        total = 0.0
        for d in range(rows.shape[1]):
            x = np.float64(rows[i, d])
            sums[d] += x
            total += x * x
        norms[i] = total


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def scaled_sums(rows, scales, start, stop, sums):
    """Add rows [start, stop), each times its scale, to `sums` (D,) float64."""
    for i in range(start, stop):
        for d in range(rows.shape[1]):
            sums[d] += np.float64(rows[i, d]) * scales[i]


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def scale_and_shift(rows, scales, centre, start, stop, out, norms):
    """Write row · scale − centre as float32 into `out`, and its sum of squares into `norms`."""
    for i in range(start, stop):
        total = 0.0
        for d in range(rows.shape[1]):
            x = np.float32(np.float64(rows[i, d]) * scales[i] - centre[d])
            out[i, d] = x
            total += np.float64(x) * np.float64(x)
        norms[i] = total


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _squared_distance(a, b):
    total = np.float32(0)
    for d in range(a.size):
        difference = a[d] - b[d]
        total += difference * difference
    return total


# No contraction here: a fused product and difference would leave a rounding error where two rows are equal.
@njit(nogil=True, cache=True, fastmath={"reassoc"})
def _squared_distance_double(a, b, scale_a, scale_b):
    total = 0.0
    for d in range(a.size):
        difference = np.float64(a[d]) * scale_a - np.float64(b[d]) * scale_b
        total += difference * difference
    return total


@njit(nogil=True, cache=True)
def squares_from_products(
    products,
    query_norms,
    gallery_norms,
    tolerance,
    queries,
    gallery,
    query_scales,
    gallery_scales,
    plain,
    first,
    last,
    start,
    stop,
):
    """Turn inner products into squared distances in place, recomputing from differences where they cancel.

    Columns [first, last) of the products are with the gallery items given. `plain` says that the rows are float32 and
    unscaled, so that their differences may be summed in float32.
    """
    two = np.float32(2)
    for i in range(start, stop):
        row = products[i, first:last]
        own = query_norms[i]
        close = 0
        for j in range(row.size):
            both = own + gallery_norms[j]
            value = both - two * row[j]
            row[j] = value
            close += value <= tolerance * both
        if close == 0:
            continue
        for j in range(row.size):
            if row[j] <= tolerance * (own + gallery_norms[j]):
                if plain:
                    row[j] = _squared_distance(queries[i], gallery[j])
                else:
                    row[j] = _squared_distance_double(queries[i], gallery[j], query_scales[i], gallery_scales[j])


@njit(nogil=True, cache=True)
def mirror(table, top, bottom, start, stop):
    """Write rows [top, bottom) of columns [start, stop) into the rows [start, stop) of columns [top, bottom)."""
    tile = 32
    for row in range(start, stop, tile):
        for column in range(top, bottom, tile):
            for i in range(row, min(row + tile, stop)):
                for j in range(column, min(column + tile, bottom)):
                    table[i, j] = table[j, i]


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _absolute_distance(a, b):
    total = np.float32(0)
    for d in range(a.size):
        total += abs(a[d] - b[d])
    return total


@njit(nogil=True, cache=True)
def manhattan(queries, gallery, out, start, stop):
    """Write Σ|q − g| of queries [start, stop) with the whole gallery into `out`, by tiles that stay in cache."""
    tile = max(1, (1 << 15) // max(1, gallery.shape[1]))
    for first in range(0, gallery.shape[0], tile):
        last = min(first + tile, gallery.shape[0])
        for i in range(start, stop):
            for j in range(first, last):
                out[i, j] = _absolute_distance(queries[i], gallery[j])


@intrinsic
def _population_count(typingctx, word):
    signature = word(word)

    def generate(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return signature, generate


@njit(nogil=True, cache=True)
def hamming(queries, gallery, out, left, right, start, stop):
    """Write the number of bits in which (B, W) and (N, W) uint64 words differ into columns [left, right) of `out`.

    Four queries share each word of the gallery that they are compared with.
    """
    words = gallery.shape[1]
    tile = max(1, (1 << 12) // max(1, words))
    fours = start + (stop - start) // 4 * 4
    for first in range(left, right, tile):
        last = min(first + tile, right)
        for i in range(start, fours, 4):
            for j in range(first, last):
                n0, n1, n2, n3 = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
                for w in range(words):
                    word = gallery[j, w]
                    n0 += _population_count(queries[i, w] ^ word)
                    n1 += _population_count(queries[i + 1, w] ^ word)
                    n2 += _population_count(queries[i + 2, w] ^ word)
                    n3 += _population_count(queries[i + 3, w] ^ word)
                out[i, j], out[i + 1, j], out[i + 2, j], out[i + 3, j] = n0, n1, n2, n3
        for i in range(fours, stop):
            for j in range(first, last):
                differing = np.uint64(0)
                for w in range(words):
                    differing += _population_count(queries[i, w] ^ gallery[j, w])
                out[i, j] = differing


@njit(nogil=True, cache=True)
def own_group_first(bits, own_groups, groups, out, start, stop):
    """Write keys that order as float32 distances do, those of items of other groups `SECOND_PART` higher.

    `bits` are the distances as int32: as whole numbers they order like the distances, negative ones backwards; both
    zeros become one. Float64 holds every such number exactly.
    """
    for i in range(start, stop):
        for j in range(groups.size):
            key = np.int64(bits[i, j])
            if key < 0:
                key = -(key & 0x7FFFFFFF)
            out[i, j] = key if groups[j] == own_groups[i] else key + SECOND_PART


@njit(nogil=True, cache=True)
def gather_relevant(distances, own, codes, offsets, members, out, starts, start, stop):
    """Write each query's relevant distances into `out[starts[i]:starts[i + 1]]`, and put its own item last.

    `members[offsets[c]:offsets[c + 1]]` are the gallery positions of class c; `codes` the queries' classes.
    """
    for i in range(start, stop):
        code = codes[i]
        at = starts[i]
        if code >= 0:
            for m in range(offsets[code], offsets[code + 1]):
                if members[m] != own[i]:
                    out[at] = distances[i, members[m]]
                    at += 1
        if own[i] >= 0:
            distances[i, own[i]] = np.inf


@njit(nogil=True, cache=True)
def _below_and_up_to(row, values, below, up_to):
    """Count the items of `row` below each value, and those up to it, without branches: four values a pass."""
    size = values.size
    for k in range(0, size - 3, 4):
        a, b, c, d = values[k], values[k + 1], values[k + 2], values[k + 3]
        a0, b0, c0, d0 = np.int32(0), np.int32(0), np.int32(0), np.int32(0)
        a1, b1, c1, d1 = np.int32(0), np.int32(0), np.int32(0), np.int32(0)
        for j in range(row.size):
            x = row[j]
            a0, a1 = np.int32(a0 + np.int32(x < a)), np.int32(a1 + np.int32(x <= a))
            b0, b1 = np.int32(b0 + np.int32(x < b)), np.int32(b1 + np.int32(x <= b))
            c0, c1 = np.int32(c0 + np.int32(x < c)), np.int32(c1 + np.int32(x <= c))
            d0, d1 = np.int32(d0 + np.int32(x < d)), np.int32(d1 + np.int32(x <= d))
        below[k], below[k + 1], below[k + 2], below[k + 3] = a0, b0, c0, d0
        up_to[k], up_to[k + 1], up_to[k + 2], up_to[k + 3] = a1, b1, c1, d1
    for k in range(size // 4 * 4, size):
        a = values[k]
        a0, a1 = np.int32(0), np.int32(0)
        for j in range(row.size):
            a0, a1 = np.int32(a0 + np.int32(row[j] < a)), np.int32(a1 + np.int32(row[j] <= a))
        below[k], up_to[k] = a0, a1


@njit(nogil=True, cache=True)
def groups_of_few(distances, relevant, starts, few, before, tied, relevant_before, relevant_tied, start, stop):
    """Write the tie groups of queries with up to `few` relevant items, from their relevant distances, sorted here."""
    values = np.empty(few, distances.dtype)
    up_to = np.empty(few, np.int32)
    for i in range(start, stop):
        first, last = starts[i], starts[i + 1]
        if last - first > few:
            continue
        relevant[first:last].sort()
        groups = 0
        for at in range(first, last):
            if groups == 0 or relevant[at] != values[groups - 1]:
                values[groups] = relevant[at]
                relevant_before[first + groups] = at - first
                relevant_tied[first + groups] = 0
                groups += 1
            relevant_tied[first + groups - 1] += 1
        _below_and_up_to(distances[i], values[:groups], before[first:], up_to)
        for group in range(groups):
            tied[first + group] = up_to[group] - before[first + group]


@njit(nogil=True, cache=True)
def groups_of_sorted(distances, relevant, starts, few, before, tied, relevant_before, relevant_tied, start, stop):
    """Write the tie groups of queries with more than `few` relevant items, from sorted distances, all and relevant."""
    for i in range(start, stop):
        row = distances[i]
        size = row.size
        first, last = starts[i], starts[i + 1]
        if last - first <= few:
            continue
        sparse = size > 32 * (last - first)
        at, group, low = first, first, 0
        while at < last:
            value = relevant[at]
            end = at + 1
            while end < last and relevant[end] == value:
                end += 1
            if sparse:
                high = size
                while low < high:
                    middle = (low + high) >> 1
                    if row[middle] < value:
                        low = middle + 1
                    else:
                        high = middle
            else:
                while row[low] < value:
                    low += 1
            above = low + (end - at)
            while above < size and row[above] == value:
                above += 1
            before[group] = low
            tied[group] = above - low
            relevant_before[group] = at - first
            relevant_tied[group] = end - at
            group += 1
            at, low = end, above


@njit(nogil=True, cache=True)
def groups_of_counts(
    distances, own, codes, offsets, members, levels, starts, before, tied, relevant_before, relevant_tied, start, stop
):
    """Write the tie groups that hold relevant items, from whole distances below `levels`, by counting."""
    everyone = np.empty(levels, np.int64)
    hits = np.empty(levels, np.int64)
    for i in range(start, stop):
        code = codes[i]
        if code < 0 or starts[i] == starts[i + 1]:
            continue
        everyone[:] = 0
        hits[:] = 0
        row = distances[i]
        for j in range(row.size):
            everyone[row[j]] += 1
        if own[i] >= 0:
            everyone[row[own[i]]] -= 1
        for m in range(offsets[code], offsets[code + 1]):
            if members[m] != own[i]:
                hits[row[members[m]]] += 1
        group, closer, closer_hits = starts[i], 0, 0
        for level in range(levels):
            if hits[level] > 0:
                before[group] = closer
                tied[group] = everyone[level]
                relevant_before[group] = closer_hits
                relevant_tied[group] = hits[level]
                closer_hits += hits[level]
                group += 1
            closer += everyone[level]


@njit(nogil=True, cache=True)
def _farther(distances, places, a, b):
    return distances[a] > distances[b] or (distances[a] == distances[b] and places[a] > places[b])


@njit(nogil=True, cache=True)
def _sift_down(distances, places, root, size):
    while True:
        child = 2 * root + 1
        if child >= size:
            return
        if child + 1 < size and _farther(distances, places, child + 1, child):
            child += 1
        if not _farther(distances, places, child, root):
            return
        distances[root], distances[child] = distances[child], distances[root]
        places[root], places[child] = places[child], places[root]
        root = child


@njit(nogil=True, cache=True)
def nearest(distances, own, places, positions, best_distances, best_positions, start, stop):
    """Write each row's nearest items, nearest first and of the tied the lowest in `places`, own item left out.

    `places` (N,) is a permutation and `positions` (N,) its inverse.
    """
    size = best_distances.shape[1]
    for i in range(start, stop):
        row, near, where = distances[i], best_distances[i], best_positions[i]
        filled = 0
        for j in range(row.size):
            if j == own[i]:
                continue
            if filled < size:
                near[filled] = row[j]
                where[filled] = places[j]
                filled += 1
                if filled == size:
                    for root in range(size // 2 - 1, -1, -1):
                        _sift_down(near, where, root, size)
            elif row[j] <= near[0] and (row[j] < near[0] or places[j] < where[0]):
                near[0] = row[j]
                where[0] = places[j]
                _sift_down(near, where, 0, size)
        for end in range(size - 1, 0, -1):
            near[0], near[end] = near[end], near[0]
            where[0], where[end] = where[end], where[0]
            _sift_down(near, where, 0, end)
        for place in range(size):
            where[place] = positions[where[place]]


@njit(nogil=True, cache=True)
def expected_inverse_rank(before, tied, relevant, hit, floor=0.0):
    """Return E[1 / rank] of the `hit`-th of `relevant` items among `tied` in random order, `before` in front.

    That item comes after X tied items that are not relevant; X follows the negative hypergeometric law, the weight of
    Hahn's polynomials. Their recurrence, −x Qₙ = Aₙ Qₙ₊₁ − (Aₙ + Cₙ) Qₙ + Cₙ Qₙ₋₁ (Koekoek, Lesky and Swarttouw 2010,
    equation 9.5.3), gives E[1 / (z + X)] as the continued fraction 1/(z + A₀/(1 + C₁/(z + A₁/(1 + C₂/(z + …))))), here
    with z = before + hit. All its terms are positive: convergents are upper and lower bounds in turn, and no
    difference is ever formed.

    A result not above `floor` may be an upper bound in place of the expectation.
    """
    others = tied - relevant
    z = np.float64(before + hit)
    # Numerators and denominators of the last two convergents.
    over, under, over_last, under_last = 1.0, z, 0.0, 1.0
    upper = 1.0 / z
    for n in range(others):
        if upper <= floor:
            break
        width = 2.0 * n + relevant
        a = ((n + relevant) / width) * ((n + hit) / (width + 1.0)) * (others - n)
        over_last, under_last = over + a * over_last, under + a * under_last
        c = ((n + 1.0) / (width + 1.0)) * ((n + 1.0 + relevant - hit) / (width + 2.0)) * (n + 1.0 + tied)
        over, under = z * over_last + c * over, z * under_last + c * under
        upper = over / under
        if upper - over_last / under_last <= 4e-16 * upper:
            break
        if under > 1e150:
            over, under, over_last, under_last = over * 1e-150, under * 1e-150, over_last * 1e-150, under_last * 1e-150
    return upper


@njit(cache=True)
def precision_at_hits(starts, before, tied, relevant_before, relevant_tied, hits, out):
    """Write into `out[i]` the expected precision where query i's `hits[i]`-th relevant item is found."""
    for i in range(out.size):
        for g in range(starts[i], starts[i + 1]):
            if relevant_before[g] + relevant_tied[g] >= hits[i]:
                hit = hits[i] - relevant_before[g]
                out[i] = hits[i] * expected_inverse_rank(before[g], tied[g], relevant_tied[g], hit)
                break


@njit(nogil=True, cache=True)
def _best_in_tie(before, tied, ahead, relevant, first, last, best):
    """Return the best of `best` and the expected precisions at the hits `first` to `last` of a tied group."""
    # No order puts a hit earlier than right behind those before it, and this bound grows with the hit.
    if (ahead + last) <= best * (before + last):
        return best
    if tied == relevant:
        return (ahead + last) / (before + last)
    # Precision mostly falls or rises all along a group: the best of its ends leaves little to the others.
    for hit in (last, first):
        floor = best / (ahead + hit)
        best = max(best, (ahead + hit) * expected_inverse_rank(before, tied, relevant, hit, floor))
    hit = first + 1
    while hit < last:
        inverse = expected_inverse_rank(before, tied, relevant, hit, best / (ahead + hit))
        best = max(best, (ahead + hit) * inverse)
        # A later hit has a higher rank in every order: none whose precision at this one's rank is too low can win.
        hit = max(hit + 1, int(best / inverse) - ahead)
    return best


@njit(nogil=True, cache=True)
def best_precisions_from_hits(starts, before, tied, relevant_before, relevant_tied, hits, out):
    """Write into `out[i, l]` the best expected precision at the `hits[i, l]`-th relevant item or a later one.

    Each row of `hits` is from 1 on and ascending.
    """
    for i in range(out.shape[0]):
        best, level = 0.0, hits.shape[1] - 1
        for g in range(starts[i + 1] - 1, starts[i] - 1, -1):
            ahead = relevant_before[g]
            last = relevant_tied[g]
            while last > 0 and level >= 0:
                first = max(hits[i, level] - ahead, 1)
                best = _best_in_tie(before[g], tied[g], ahead, relevant_tied[g], first, last, best)
                last = first - 1
                while level >= 0 and hits[i, level] > ahead + last:
                    out[i, level] = best
                    level -= 1


@njit(cache=True)
def divide_by_hits(starts, before, tied, relevant_before, relevant_tied, cutoff, inclusive, out):
    """Write into `out[i]` the expectation of (sum of the precisions at the hits in the top k) / (number of hits).

    Where the cut goes through a tie, the number h of its hits inside follows the hypergeometric law; given h,
    the group's part above the cut is itself a tied group, of h relevant items.
    """
    for i in range(out.size):
        total, found, result = 0.0, 0, -1.0
        for g in range(starts[i], starts[i + 1]):
            b, t, a, r = before[g], tied[g], relevant_before[g], relevant_tied[g]
            inside = cutoff - b
            if inside <= 0:
                break
            if inside >= t:
                total += tied_precisions(b, t, a + inclusive, r)
                found += r
                continue
            low, high = max(0, inside - (t - r)), min(r, inside)
            mode = min(max((inside + 1) * (r + 1) // (t + 2), low), high)
            weight = 1.0
            mass = 1.0
            value = _divided(total, found, b, inside, a, mode, inclusive)
            for h in range(mode, high):
                weight *= ((r - h) / (h + 1.0)) * ((inside - h) / (t - r - inside + h + 1.0))
                mass += weight
                value += weight * _divided(total, found, b, inside, a, h + 1, inclusive)
                if weight * (high - h) < 1e-17 * mass:
                    break
            weight = 1.0
            for h in range(mode, low, -1):
                weight *= (h / (r - h + 1.0)) * ((t - r - inside + h) / (inside - h + 1.0))
                mass += weight
                value += weight * _divided(total, found, b, inside, a, h - 1, inclusive)
                if weight * (h - low) < 1e-17 * mass:
                    break
            result = value / mass
            break
        if result >= 0:
            out[i] = result
        else:
            out[i] = total / found if found > 0 else 0.0


@njit(cache=True)
def _divided(total, found, before, tied, ahead, relevant, inclusive):
    if found + relevant == 0:
        return 0.0
    return (total + tied_precisions(before, tied, ahead + inclusive, relevant)) / (found + relevant)


@njit(cache=True)
def tied_precisions(before, tied, ahead, relevant):
    """Return the expected sum of the precisions at the hits of one whole tied group; see `metrics.hits_in_ties`."""
    if relevant == 0:
        return 0.0
    if tied == relevant:
        slope = 1.0
    else:
        slope = (relevant - 1.0) / (tied - 1.0)
    total = 0.0
    for j in range(1, tied + 1):
        total += (ahead + (j - 1) * slope) / (before + j)
    return total * relevant / tied
