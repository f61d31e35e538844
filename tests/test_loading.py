"""Batches come in order and are the same from memory and from processes, which end when they should."""

import multiprocessing
import os
import select
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from trazo.errors import InputError
from trazo.loading import Held, Joined, LoadingError, Streamed, source_of
from trazo.streams import JoinedPixels, StreamedPixels

CPU = torch.device("cpu")
WORKFLOW = Path(__file__).resolve().parents[1] / "workflow"


@pytest.fixture
def streamed(photos):
    names = sorted(str(file.relative_to(photos)) for file in photos.glob("*/*.jpg"))
    return StreamedPixels(photos, names, size=16, channels=3, digest="")


def passes(rows=63):
    """Two passes of batches of several lengths, shuffled, some rows twice."""
    draw = torch.Generator().manual_seed(0)
    return [list(torch.randint(rows, (40,), generator=draw).split(size)) for size in (7, 16)]


def collected(source, batches):
    return [batch.clone() for batch in source.batches(batches)]


def same(found, expected):
    assert len(found) == len(expected)
    assert all(torch.equal(one, other) for one, other in zip(found, expected))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_streamed_batches_are_those_held_in_memory(streamed, workers):
    held = Held(torch.from_numpy(streamed[:]))
    with Streamed(streamed, CPU, workers) as source:
        for batches in passes():
            same(collected(source, batches), collected(held, batches))


def test_a_pass_that_is_left_early_does_not_spoil_the_next(streamed):
    first, second = passes()
    with Streamed(streamed, CPU, 2) as source:
        assert torch.equal(next(source.batches(first)), torch.from_numpy(streamed[first[0].numpy()]))
        same(collected(source, second), collected(Held(torch.from_numpy(streamed[:])), second))


def test_the_kind_of_pixels_decides_where_batches_come_from(streamed):
    array = streamed[:9]
    assert isinstance(source_of(array, CPU), Held)
    assert isinstance(source_of(streamed, CPU), Streamed)
    assert isinstance(source_of(JoinedPixels([array, streamed]), CPU), Joined)


@pytest.mark.parametrize("colour", [True, False])
def test_joined_batches_keep_their_order(streamed, colour):
    array = 255 - streamed[:9]
    both = JoinedPixels([array if colour else array[..., 0], streamed, array])
    held = Held(torch.from_numpy(both[:]))
    batches = [*passes(len(both))[0], torch.arange(9), torch.arange(9, 30)]
    with source_of(both, CPU, workers=1) as source:
        same(collected(source, batches), collected(held, batches))


def test_loading_draws_nothing_from_the_random_numbers_of_training(streamed):
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    with Streamed(streamed, CPU, 2) as source:
        collected(source, passes()[0])
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_image_is_named_and_processes_end(photos, tmp_path, workers):
    (tmp_path / "good.jpg").write_bytes((photos / "cat" / "0.jpg").read_bytes())
    (tmp_path / "bad.jpg").write_bytes(b"broken")
    pixels = StreamedPixels(tmp_path, ["good.jpg"] * 9 + ["bad.jpg"], size=8, channels=1, digest="")
    with pytest.raises(InputError) as caught, Streamed(pixels, CPU, workers) as source:
        collected(source, list(torch.arange(10).split(2)))
    assert str(caught.value).startswith(f"bad.jpg of {tmp_path} cannot be read: no image in a known format.")
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_processes_end_with_the_loop_whatever_ends_it(streamed, error):
    with pytest.raises(error), Streamed(streamed, CPU, 2) as source:  # noqa: PT012 – the loop is what is tested
        for _ in source.batches(passes()[0]):
            assert len(multiprocessing.active_children()) == 2
            raise error
    assert not multiprocessing.active_children()


def test_a_process_that_dies_is_an_error_that_says_what_to_do(streamed):
    with pytest.raises(LoadingError, match="fewer workers"), Streamed(streamed, CPU, 1) as source:  # noqa: PT012
        for _ in source.batches(list(torch.arange(63).split(4))):
            for child in multiprocessing.active_children():
                os.kill(child.pid, signal.SIGKILL)


SCRIPT = """
    import multiprocessing, sys, time
    import torch
    from trazo.loading import Streamed
    from trazo.streams import StreamedPixels

    # As in a script of Snakemake, nothing says that this is not to be run by a process that imports it.
    pixels = StreamedPixels(sys.argv[1], ["cat/0.jpg", "dog/1.jpg"], size=8, channels=1, digest="")
    with Streamed(pixels, torch.device("cpu"), 2) as source:
        print(sum(len(batch) for batch in source.batches([torch.tensor([0, 1, 1])])), flush=True)
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        time.sleep(100)
"""


def started(photos, tmp_path):
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    return subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py"), str(photos)],
        env={**os.environ, "PYTHONPATH": str(WORKFLOW)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits for processes that are not its own")
@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_a_script_needs_no_guard_and_takes_its_workers_along_when_it_is_killed(photos, tmp_path, kill):
    process = started(photos, tmp_path)
    assert process.stdout.readline() == "3\n"
    workers = [os.pidfd_open(int(number)) for number in process.stdout.readline().split()]
    assert len(workers) == 2
    process.send_signal(kill)
    process.wait(timeout=60)
    process.stdout.close()
    for worker in workers:
        # A file descriptor of a process can be read once it has ended.
        assert select.select([worker], [], [], 30)[0], "a worker outlived the training"
        os.close(worker)


def test_rows_of_no_batch_are_none(streamed):
    for source in (Held(torch.from_numpy(np.zeros((3, 2, 2), np.uint8))), Streamed(streamed, CPU, 0)):
        assert collected(source, []) == []
