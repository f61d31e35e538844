"""Bad days: runs killed, disks full, files damaged, sources gone.

Nothing half-written is taken for whole, nothing that was finished is lost, and each message says what to do.
"""

import base64
import hashlib
import http.server
import os
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from trazo.config import Dataset
from trazo.data.doodles import draw_many
from trazo.data.images import build_images
from trazo.data.quickdraw import write_bin
from trazo.errors import InputError
from trazo.models.checkpoint import load_checkpoint
from trazo.retrieval.gallery import rank_gallery
from trazo.store import read_images, read_ranking, write_features
from trazo.streams import StreamedPixels
from trazo.training.loop import train_stage

from tests.retrieval.test_gallery import SETTINGS, made
from tests.training.test_loop import settings, write_bars
from tests.workflow.conftest import ROOT, Project, changed, copy_project

pytestmark = pytest.mark.workflow

TRAINED = "results/tiny/models/one/seed0/classify/checkpoint.pt"


def wait_for(path: Path, process: subprocess.Popen) -> None:
    limit = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, f"it ended before {path.name} was there"
        assert time.monotonic() < limit, f"{path.name} did not come in time"
        time.sleep(0.01)


# --- Killed ---------------------------------------------------------------------------------------------------------


def decode(folder: Path) -> None:
    spec = Dataset(split={"train": 200, "test": 20}, size=32, categories=["cat"])
    build_images(
        source=folder.parent / "drawings", dataset_name="d", dataset=spec, split="train", output=folder / "images.h5",
        code="c",
    )  # fmt: skip


def search(folder: Path) -> None:
    features = folder.parent / "features.h5"
    rank_gallery(
        queries=features, gallery=features, ranking=folder / "ranking.h5", metrics=folder / "metrics.csv", study="s",
        retrieval="r", distance="euclidean", settings=SETTINGS, code="c", device="cpu",
    )  # fmt: skip


def learn(folder: Path) -> None:
    train_stage(
        images=folder.parent / "bars.h5", output=folder / "checkpoint.pt", history=folder / "history.json",
        model=settings(2), stage="classify", seed=0, code="c", key={}, device="cpu",
    )  # fmt: skip


def same_images(one: Path, two: Path) -> bool:
    return np.array_equal(read_images(one / "images.h5").pixels, read_images(two / "images.h5").pixels)


def same_ranking(one: Path, two: Path) -> bool:
    values = [read_ranking(folder / "ranking.h5").values for folder in (one, two)]
    return np.array_equal(*values) and (one / "metrics.csv").read_bytes() == (two / "metrics.csv").read_bytes()


def same_checkpoint(one: Path, two: Path) -> bool:
    weights = [load_checkpoint(folder / "checkpoint.pt").weights[2] for folder in (one, two)]
    return all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


# What is done, where it is killed, what compares results, and what is there by then.
KILLS = {
    "decoding": (decode, "trazo.store._NewArtifact.need_room", same_images, []),
    "ranking": (search, "trazo.retrieval.ranking.evaluate", same_ranking, []),
    "writing a ranking": (search, "trazo.store._seal", same_ranking, []),
    "between two outputs": (search, "trazo.retrieval.gallery.write_metrics", same_ranking, ["ranking.h5"]),
    "writing a resume file": (learn, "torch.save", same_checkpoint, []),
    "writing a checkpoint": (learn, "trazo.training.loop.save_checkpoint", same_checkpoint, ["checkpoint.pt.resume"]),
}
# Does a step as a rule's script does, and halts where it is to be killed.
KILLED = """
    import sys, time
    from pathlib import Path
    sys.path[:0] = sys.argv[1:3]
    import pytest
    from tests.workflow.test_faults import KILLS
    from trazo.progress import step
    folder = Path(sys.argv[4])
    def halt(*_, **__):
        (folder.parent / "reached").touch()
        time.sleep(60)
    work, place, _, _ = KILLS[sys.argv[3]]
    pytest.MonkeyPatch().setattr(place, halt)
    with step(folder.parent / "step.log", "a step"):
        work(folder)
"""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    write_bin(folder / "drawings" / "cat.bin", draw_many("cat", 230, seed=1))
    write_features(folder / "features.h5", made())
    write_bars(folder / "bars.h5", 64, 0)
    return folder


@pytest.mark.parametrize(
    ("what", "kill"),
    [
        *((what, signal.SIGKILL) for what in KILLS),
        *((what, signal.SIGTERM) for what in ("decoding", "writing a resume file")),
    ],
)
def test_a_killed_step_leaves_nothing_half_and_is_made_up_for(inputs, tmp_path, what, kill):
    work, _, same, there = KILLS[what]
    for each in inputs.iterdir():
        (tmp_path / each.name).symlink_to(each)
    (tmp_path / "cut").mkdir()
    (tmp_path / "whole").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(ROOT), str(ROOT / "workflow"), what, str(tmp_path / "cut")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    wait_for(tmp_path / "reached", process)
    process.send_signal(kill)
    code = process.wait()
    left = sorted(file.name for file in (tmp_path / "cut").iterdir() if not file.name.endswith(".part"))
    assert left == there
    if kill == signal.SIGTERM:
        assert code == 128 + signal.SIGTERM
        assert "asked to end (SIGTERM); the next run goes on" in (tmp_path / "step.log").read_text()
        assert not list((tmp_path / "cut").glob(".*"))
    for folder in ("cut", "whole"):
        work(tmp_path / folder)
    assert same(tmp_path / "cut", tmp_path / "whole")
    assert not list((tmp_path / "cut").glob(".*"))
    assert not list((tmp_path / "cut").glob("*.resume"))


# --- Two runs, a disk that is full or for reading only --------------------------------------------------------------


@pytest.fixture
def fresh(tmp_path) -> Project:
    """The tiny study before any run."""
    return copy_project(tmp_path / "trazo")


def snakemake_in(project: Project, target: str, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "1", target],
        cwd=project.folder,
        env={**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        **options,
    )


def test_a_second_run_in_the_folder_is_refused_and_the_first_goes_on(fresh):
    fresh.write_study(changed(("models", "one", "stages", 0, "epochs"), 100_000))
    first = snakemake_in(fresh, TRAINED, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    resume = fresh.folder / f"{TRAINED}.resume"
    try:
        wait_for(resume, first)
        second = fresh.snakemake(TRAINED, check=False)
        assert second.returncode != 0
        assert "Directory cannot be locked" in second.stdout
        assert "--unlock" in second.stdout
        reached = torch.load(resume, weights_only=True)["state"]["epoch"]
        assert first.poll() is None
        limit = time.monotonic() + 60
        while torch.load(resume, weights_only=True)["state"]["epoch"] == reached:
            assert time.monotonic() < limit, "the first run no longer trains"
            time.sleep(0.1)
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()


def private(script: str, folder: Path) -> subprocess.CompletedProcess:
    """Run a shell script that may mount disks, which nobody else sees and which are gone when it ends."""
    own = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c"]
    trial = [*own, "mount -t tmpfs -o size=100k tmpfs /mnt"]
    if shutil.which("unshare") is None or subprocess.run(trial, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk in memory (root, or user namespaces of Linux)")
    return subprocess.run(
        [*own, script],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


SNAKEMAKE = f"{shlex.quote(sys.executable)} -m snakemake --cores 1 {TRAINED}"


def test_a_full_disk_is_named_and_the_run_goes_on_once_there_is_room(fresh):
    script = f"""
        mkdir results && mount -t tmpfs -o size=400k tmpfs results || exit 99
        {SNAKEMAKE}; echo "first $?"
        find results -name '*.part' -o -name 'checkpoint*'; echo "listed"
        mount -o remount,size=40m results
        {SNAKEMAKE}; echo "second $?"
    """
    done = private(script, fresh.folder)
    before, _, after = done.stdout.partition("first 1\n")
    assert after, done.stdout[-4000:]
    assert f"{TRAINED}.resume cannot be written: No space left on device" in before
    assert "of the 0.4 MiB of the disk that holds results/tiny/models/one/seed0/classify" in before
    assert "Make room there" in before
    left, _, after = after.partition("listed\n")
    assert left == ""
    assert "second 0" in after, after[-4000:]
    assert "build_images" not in after


def test_results_for_reading_only_are_told_before_anything_runs(fresh):
    script = f"mkdir results && mount -t tmpfs -o size=400k,ro tmpfs results || exit 99\n{SNAKEMAKE}"
    done = private(script, fresh.folder)
    assert done.returncode == 1, done.stdout[-4000:]
    assert "results cannot be written: its disk is for reading only" in done.stdout
    assert "run in a folder of your own" in done.stdout
    assert "rule build_images" not in done.stdout


# --- Damaged files, sources that are gone ---------------------------------------------------------------------------


def test_a_flipped_byte_stops_the_step_that_reads_it_and_says_what_to_delete(project):
    name = "results/tiny/features/one/seed0/classify/epoch1/pets/test.h5"
    features = project.folder / name
    (metrics,) = (project.folder / "results/tiny/rankings/one").rglob("euclidean/*.csv")
    target = str(metrics.relative_to(project.folder))
    found = metrics.read_bytes()
    times = features.stat()
    content = bytearray(features.read_bytes())
    content[len(content) // 2] ^= 1
    features.write_bytes(content)
    # As it would be by a fault of the disk.
    os.utime(features, ns=(times.st_atime_ns, times.st_mtime_ns))
    metrics.unlink()
    done = project.snakemake(target, check=False)
    assert done.returncode != 0
    assert f"{name} is damaged or was cut short" in done.stdout
    assert "Delete it and run again" in done.stdout
    assert not metrics.exists()
    features.unlink()
    project.snakemake(target)
    assert metrics.read_bytes() == found


def test_a_source_that_vanishes_while_the_run_goes_on_is_named(fresh):
    images = fresh.folder / "results" / "tiny" / "images" / "pets"
    targets = [f"results/tiny/images/pets/{split}.h5" for split in ("train", "test")]
    run = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "1", *targets],
        cwd=fresh.folder,
        env={**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    limit = time.monotonic() + 120
    while not (images.is_dir() and [file for file in images.iterdir() if not file.name.startswith(".")]):
        assert run.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.01)
    gone = fresh.folder / "my drawings" / "duck.bin"
    gone.rename(fresh.folder / "duck.bin")
    printed = run.communicate()[0]
    assert run.returncode != 0
    assert "duck.bin" in printed.partition("Error")[2], printed[-3000:]
    assert "Traceback" not in printed
    assert len([file for file in images.iterdir() if not file.name.startswith(".")]) == 1
    (fresh.folder / "duck.bin").rename(gone)
    fresh.snakemake(*targets)


def test_streamed_images_that_vanish_are_named(photos, tmp_path):
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    names = [f"cat/{number}.jpg" for number in range(4)]
    pixels = StreamedPixels(folder, names, size=16, channels=3, digest="")
    (folder / "cat" / "2.jpg").unlink()
    assert pixels[:2].shape == (2, 16, 16, 3)
    with pytest.raises(InputError, match=r"cat/2\.jpg of .*photos cannot be read: .*and run again"):
        pixels[:]
    shutil.rmtree(folder)
    with pytest.raises(InputError, match="photos"):
        StreamedPixels(folder, names, size=16, channels=3, digest="")[:]


# --- Downloads ------------------------------------------------------------------------------------------------------


@pytest.fixture
def bucket(fresh, monkeypatch):
    """A server of the drawings, set as the source `bucket`: it does what is put into `faults`, one for each request."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    faults: list[str] = []
    whole = (fresh.folder / "my drawings" / "cat.bin").read_bytes()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            fault = faults.pop(0) if faults else ""
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
            body = whole[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", '"1"')
            self.send_header("x-goog-hash", f"md5={base64.b64encode(hashlib.md5(whole).digest()).decode()}")
            self.end_headers()
            asked.append(start)
            if fault == "damaged":
                body = bytes(len(body))
            self.wfile.write(body[: len(body) // 2] if fault == "cut" else body)
            self.close_connection = True

        def log_message(self, *_):
            pass

    asked: list[int] = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        config = yaml.safe_load((fresh.folder / "config.yaml").read_text())
        config["sources"]["bucket"] = f"http://127.0.0.1:{server.server_address[1]}"
        (fresh.folder / "config.yaml").write_text(yaml.safe_dump(config))
        yield faults, asked, whole
        server.shutdown()


def test_a_download_that_is_cut_short_is_gone_on_with(fresh, bucket):
    faults, asked, whole = bucket
    faults += ["cut", "cut"]
    fresh.snakemake("results/sources/bucket/cat.bin")
    folder = fresh.folder / "results" / "sources" / "bucket"
    assert (folder / "cat.bin").read_bytes() == whole
    assert [file.name for file in folder.iterdir()] == ["cat.bin"]
    assert len(asked) == 3
    assert asked[0] == 0 < asked[1] < asked[2]


def test_a_download_that_stays_damaged_is_refused_and_not_kept(fresh, bucket):
    faults, _, _ = bucket
    faults += ["damaged"] * 20
    done = fresh.snakemake("results/sources/bucket/cat.bin", check=False)
    assert done.returncode != 0
    assert "its MD5 is" in done.stdout
    assert "Try again later, or download it by other means" in done.stdout
    folder = fresh.folder / "results" / "sources" / "bucket"
    assert not folder.exists() or not list(folder.iterdir())
