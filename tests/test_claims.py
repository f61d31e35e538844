"""Claims: two processes never hold the same thing, and a process that dies lets go, however it dies."""

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from trazo import claims, device
from trazo.claims import claim, own_folder
from trazo.device import choose_device, gpu_names
from trazo.errors import InputError

from tests.conftest import ROOT

# Claims one of two things, says which, and keeps it until told to end; with a child that lives on.
HOLDER = """
import os, sys
from trazo.claims import claim
say = lambda words: print(words, flush=True)
say(claim(["left", "right"], sys.argv[1], waiting=lambda holders: say("waiting: " + holders)))
if "child" in sys.argv:
    child = os.fork()
    if child == 0:
        import time
        time.sleep(60)
    say(child)
sys.stdin.read()
"""


@pytest.fixture
def hold(tmp_path):
    """A function that starts a process which claims one of two things; all end with the test."""
    started = []

    def start(*words: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path), *words],
            env={**os.environ, "PYTHONPATH": str(ROOT / "workflow")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def said(process: subprocess.Popen) -> str:
    return process.stdout.readline().strip()


def test_two_processes_hold_different_things_and_a_third_waits_for_the_first_that_is_free(hold):
    holders = [hold(), hold()]
    held = [said(process) for process in holders]
    assert sorted(held) == ["0", "1"]
    third = hold()
    words = said(third)
    assert words.startswith("waiting: left by process ")
    assert all(str(process.pid) in words for process in holders)
    holders[1].send_signal(signal.SIGKILL)
    assert said(third) == held[1]


def test_a_process_that_ends_by_itself_lets_go(hold):
    for _ in range(2):
        process = hold()
        assert said(process) == "0"
        process.stdin.close()
        assert process.wait(20) == 0


def test_a_child_that_outlives_a_killed_process_does_not_keep_its_claim(hold):
    parent = hold("child")
    assert said(parent) == "0"
    child = int(said(parent))
    try:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        os.kill(child, 0)
        assert said(hold()) == "0"
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_process_that_claims_again_has_what_it_had(tmp_path):
    assert [claim(["a", "b"], tmp_path) for _ in range(3)] == [0, 0, 0]


def test_nothing_to_claim_is_a_mistake(tmp_path):
    with pytest.raises(InputError, match="no names"):
        claim([], tmp_path)


def test_locks_are_in_a_folder_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setattr(claims.tempfile, "tempdir", str(tmp_path))
    folder = own_folder("locks")
    assert (folder.parent, folder.stat().st_mode & 0o777) == (tmp_path, 0o700)
    assert own_folder("locks") == folder
    # As anybody could have made it, to keep others from working or to have them write where they would not.
    folder.chmod(0o777)
    with pytest.raises(InputError, match="only this user"):
        own_folder("locks")
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="only this user"):
        own_folder("locks")


@pytest.mark.parametrize(
    ("visible", "uuids", "names"),
    [
        ("", ["a", "b"], ["GPU-a", "GPU-b"]),
        ("1,0", ["b", "a"], ["GPU-b", "GPU-a"]),
        ("MIG-one, MIG-two", ["a", "a"], ["MIG-one", "MIG-two"]),
        # CUDA sees the first part only.
        ("MIG-one,MIG-two", ["a"], ["GPU-a"]),
    ],
)
def test_gpus_have_the_same_names_whatever_is_visible(visible, uuids, names):
    assert gpu_names(visible, uuids) == names


def test_a_job_takes_a_gpu_that_no_other_has(hold, tmp_path, monkeypatch):
    monkeypatch.delenv("TRAZO_SHARE_GPU", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: SimpleNamespace(uuid="ab"[number]))
    monkeypatch.setattr(device, "gpu_names", lambda visible, uuids: [{"a": "left", "b": "right"}[u] for u in uuids])
    monkeypatch.setattr(device, "own_folder", lambda name: tmp_path)
    current = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    assert said(hold()) == "0"
    device._claimed_gpu.cache_clear()
    try:
        assert choose_device("auto") == choose_device("cuda") == torch.device("cuda", 1)
        assert choose_device("cpu") == torch.device("cpu")
        # Who serves for long takes none for itself, nor do those who are told to share.
        assert choose_device("auto", own=False) == torch.device("cuda", 0)
        monkeypatch.setenv("TRAZO_SHARE_GPU", "1")
        assert choose_device("auto") == torch.device("cuda", 0)
    finally:
        device._claimed_gpu.cache_clear()
    assert current == [1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_real_gpu_is_held(monkeypatch):
    monkeypatch.delenv("TRAZO_SHARE_GPU", raising=False)
    chosen = choose_device("auto")
    assert (chosen.type, chosen.index) == ("cuda", torch.cuda.current_device())
    names = gpu_names(
        os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        [str(torch.cuda.get_device_properties(number).uuid) for number in range(torch.cuda.device_count())],
    )
    code = "import sys; from trazo.claims import *; claim([sys.argv[1]], own_folder('trazo-gpus'), waiting=sys.exit)"
    other = subprocess.run(
        [sys.executable, "-c", code, names[chosen.index]],
        env={**os.environ, "PYTHONPATH": str(ROOT / "workflow")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"by process {os.getpid()}" in other.stderr
