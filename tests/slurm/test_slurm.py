"""The workflow on a real SLURM, by its profile: GPU jobs ask for a GPU, and what is killed goes on."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml
from trazo.models.checkpoint import load_checkpoint

from tests.slurm.cluster import CPUS, Cluster, processes_of
from tests.workflow.conftest import ROOT, STUDY, Project, changed, copy_project

pytestmark = pytest.mark.workflow

# The profile, but for a small machine and impatient people.
COMMAND = (
    *(sys.executable, str(ROOT / "tests/slurm/impatient.py"), "--profile", "workflow/profiles/slurm"),
    *("--cores", str(CPUS), "--latency-wait", "10"),
)
# The tiny study has two models.
MODELS = tuple(STUDY["models"])
# Of a wait for what takes seconds on an idle machine.
LONG = 240


@dataclass
class Run:
    """A run of Snakemake in a project, whose jobs a cluster does."""

    project: Project
    cluster: Cluster
    arguments: tuple[str, ...] = ()

    def start(self) -> subprocess.Popen:
        """Start it, and return at once."""
        self.screen.parent.mkdir(exist_ok=True)
        with self.screen.open("a") as output:
            return subprocess.Popen(
                [*COMMAND, *self.arguments],
                cwd=self.project.folder,
                env={**self.cluster.environment, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def screen(self) -> Path:
        """What it printed."""
        return self.project.folder.parent / "screen.txt"

    def finish(self, started: subprocess.Popen, seconds: float = LONG) -> None:
        """Wait for its good end."""
        try:
            ended = started.wait(seconds)
        except subprocess.TimeoutExpired:
            ended = f"no end in {seconds} s"
        finally:
            end(started)
        assert ended == 0, f"{ended}: {self.screen.read_text()[-6000:]}"

    def jobs(self, of: str = r"\w+?") -> list[dict[str, str]]:
        """Return what SLURM knows of this run's jobs, in order: all, of a rule and its wildcards, or of a group."""
        return [
            job
            for _, job in sorted(self.cluster.jobs().items())
            if job["WorkDir"] == str(self.project.folder) and re.match(rf"rule_{of}(_|-|$)", job["Comment"])
        ]

    def wait(self, until, what: str) -> object:
        """Wait for something on the cluster; say what was printed if it does not come."""
        try:
            return self.cluster.wait(until, LONG, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n--- the run\n{self.screen.read_text()[-4000:]}") from None

    def stop_training(self, model: str) -> int:
        """Stop a model's training in its tracks after its first epoch, and return its job's number."""
        resume = self.project.folder / f"{checkpoint(model)}.resume"
        self.wait(resume.exists, f"the first epoch of {model}")
        (job,) = [int(job["JobId"]) for job in self.jobs(f"train_stage_wildcards_tiny_{model}")]
        processes = processes_of(job, "train_stage.py")
        assert processes, f"no process of job {job} trains {model}"
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        assert resume.exists(), f"{model} was trained to the end before it could be stopped"
        return job

    def log(self, model: str) -> str:
        """Return the log of a model's training."""
        return (self.project.folder / f"results/tiny/logs/train_stage/{model}/seed0/classify.log").read_text()


def checkpoint(model: str) -> str:
    """Return what a training makes."""
    return f"results/tiny/models/{model}/seed0/classify/checkpoint.pt"


def end(run: subprocess.Popen) -> None:
    """End a run that may still go on, and what it started here."""
    if run.poll() is None:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()


def went_on(log: str) -> bool:
    """Return whether a training went on from an epoch that it had finished before."""
    return re.search(r"going on after epoch [1-9]\d* of \d+", log) is not None


def trained(folder: Path, model: str) -> dict[str, torch.Tensor]:
    """Return the weights after the last epoch."""
    weights = load_checkpoint(folder / checkpoint(model)).weights
    return weights[max(weights)]


def less_of_the_demo() -> dict:
    """Return what lays few and small drawings, little training, and fewer pictures over the demo study."""
    study = yaml.safe_load((ROOT / "workflow/studies/demo.yaml").read_text())
    (stage,) = study["models"]["small"]["stages"]
    (retrieval,) = study["retrievals"]
    left_out = {"tables": set(study["tables"]) - {"retrieval"}, "figures": set(study["figures"]) - {"search"}}
    return {
        "datasets": {"doodles": {"split": {"train": 4, "test": 3}, "size": 32}},
        "models": {"small": {"stages": [{**stage, "epochs": 2, "batch_size": 12}]}},
        "retrievals": [{**retrieval, "epochs": [2]}],
        **{section: dict.fromkeys(sorted(names)) for section, names in left_out.items()},
    }


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Project:
    """The tiny study with longer trainings, of which that of `one` was made without SLURM, undisturbed."""
    project = copy_project(tmp_path_factory.mktemp("prepared") / "trazo")
    study = changed(("models", "one", "stages", 0, "epochs"), 60)
    study["models"]["two"]["stages"][0]["epochs"] = 60
    project.write_study(study)
    project.snakemake(checkpoint("one"))
    return project


def untrained(prepared: Project, folder: Path) -> Project:
    """Return a copy of the prepared project whose images are there, and no training."""
    shutil.copytree(prepared.folder, folder / "trazo")
    shutil.rmtree(folder / "trazo/results/tiny/models")
    return Project(folder / "trazo")


# One test for each run: test runners may give tests of a file to several processes, each of which would run it anew.


def test_the_demo_runs_through_slurm_and_jobs_that_compute_on_a_gpu_ask_for_one(cluster, tmp_path):
    project = copy_project(tmp_path / "trazo")
    (project.folder / "config.yaml").write_text(
        yaml.safe_dump({"studies": ["demo"], "device": "auto", "overrides": {"demo": less_of_the_demo()}})
    )
    run = Run(project, cluster, ("--cores", "1"))
    run.finish(run.start(), 2 * LONG)

    results = project.folder / "results/demo"
    assert (results / "report.html").stat().st_size > 0
    with (results / "metrics.csv").open(newline="") as file:
        epochs = {row["epoch"] for row in csv.DictReader(file) if row["metric"] == "map"}
    assert epochs == {"2"}
    assert {job["JobState"] for job in run.jobs()} == {"COMPLETED"}
    for of in ("train_stage", "features", "rankings"):
        assert {job.get("TresPerJob") for job in run.jobs(of)} == {"gres:gpu:1"}, of
    for of in ("draw_doodles", "build_images", "accuracies", "report"):
        assert {job.get("TresPerJob") for job in run.jobs(of)} == {None}, of
    # A training has the threads that its job asked for, however many cores there are where it runs.
    assert [job["NumCPUs"] for job in run.jobs("train_stage")] == ["1"]
    assert load_checkpoint(results / "models/small/seed0/classify/checkpoint.pt").record["figures"]["threads"] == 1
    # Rankings by two distances share a submission, and all from metrics to the report do.
    assert [len(run.jobs(of)) for of in ("features", "accuracies", "rankings", "report")] == [1, 1, 1, 1]


def test_trainings_that_slurm_ends_are_retried_and_go_on_to_the_same_weights(cluster, prepared, tmp_path):
    """`one` is cancelled after an epoch, `two` is held up then until its time is over."""
    run = Run(untrained(prepared, tmp_path), cluster, tuple(map(checkpoint, MODELS)))
    started = run.start()
    try:
        stopped = {model: run.stop_training(model) for model in MODELS}
        cluster.run("scancel", str(stopped["one"]))
        # The shortest limit there is, in minutes; set only now, when an epoch is done, however slow the machine is.
        cluster.run("scontrol", "update", f"JobId={stopped['two']}", "TimeLimit=1")
        run.finish(started, 2 * LONG)
    finally:
        end(started)

    for model, how in zip(MODELS, ("CANCELLED", "TIMEOUT"), strict=True):
        first, second = run.jobs(f"train_stage_wildcards_tiny_{model}")
        assert (first["JobState"], second["JobState"]) == (how, "COMPLETED")
        assert went_on(run.log(model))
        # The second attempt asks for more than the first: four hours, and some 8000 MB.
        assert second["TimeLimit"] == "08:00:00"
        memory = [int(job["MinMemoryNode"].removesuffix("M")) for job in (first, second)]
        assert memory[1] == pytest.approx(2 * memory[0], abs=1)
    expected, found = (trained(project.folder, "one") for project in (prepared, run.project))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_cancelled_run_goes_on_with_the_next_command(cluster, prepared, tmp_path):
    run = Run(untrained(prepared, tmp_path), cluster, (checkpoint("one"),))
    started = run.start()
    try:
        job = run.stop_training("one")
        started.send_signal(signal.SIGINT)
        run.wait(lambda: started.poll() is not None, "the run to end")
        assert started.returncode != 0
        run.wait(lambda: job not in cluster.active(), "its job to be cancelled")
    finally:
        end(started)
    assert not (run.project.folder / checkpoint("one")).exists()
    run.finish(run.start())
    assert [job["JobState"] for job in run.jobs("train_stage")] == ["CANCELLED", "COMPLETED"]
    assert went_on(run.log("one"))
