"""Profiles: every line is explained, rules know of no cluster, and jobs get the share of a machine they should."""

import os
import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.workflow.conftest import ROOT, STUDY

pytestmark = pytest.mark.workflow

PROFILES = sorted((ROOT / "workflow/profiles").iterdir())
RULES = {path: path.read_text() for path in sorted((ROOT / "workflow/rules").glob("*.smk"))}
NAMES = {name for text in RULES.values() for name in re.findall(r"^rule (\w+):", text, flags=re.MULTILINE)}


def test_there_is_a_profile_for_a_laptop_for_gpus_and_for_a_cluster():
    assert [profile.name for profile in PROFILES] == ["default", "gpu", "slurm"]


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_every_option_of_a_profile_is_explained(profile):
    lines = (profile / "config.yaml").read_text().splitlines()
    assert lines[0].startswith("# ")
    assert f"snakemake --profile workflow/profiles/{profile.name} " in lines[0]
    options = [number for number, line in enumerate(lines) if re.match(r"\w", line)]
    assert [lines[number] for number in options if not re.match(r"# \S", lines[number - 1])] == []


def test_no_rule_names_a_cluster_its_accounts_or_partitions():
    for path, text in RULES.items():
        found = re.findall(r"\w*(?:slurm|partition|account|gres|qos|constraint|clusters?=)\w*", text)
        assert not found, f"{path.name}: {found}"


def test_rules_that_the_slurm_profile_names_are_there():
    text = (ROOT / "workflow/profiles/slurm/config.yaml").read_text()
    profile = yaml.safe_load(text)
    assert set(profile["groups"]) <= NAMES
    assert set(profile["group-components"]) <= set(profile["groups"].values())
    # And those that its comments name.
    said = re.search(r"GPU jobs are of the rules (.*?);", re.sub(r"\n# ?", " ", text)).group(1)
    with_gpu = {
        re.match(r"\w+", rule).group()
        for text in RULES.values()
        for rule in re.split(r"^rule ", text, flags=re.MULTILINE)[1:]
        if re.search(r"^ +gpu=", rule, flags=re.MULTILINE)
    }
    assert set(re.findall(r"\w+_\w+", said)) == with_gpu


def listed(folder: Path, gpus: int) -> Path:
    """Write an nvidia-smi that lists so many GPUs, the first in two parts."""
    lines = [f"GPU {number}: NVIDIA H200 (UUID: GPU-{number})" for number in range(gpus)]
    lines[1:1] = ["  MIG 1g.18gb     Device  0: (UUID: MIG-0)", "  MIG 1g.18gb     Device  1: (UUID: MIG-1)"]
    folder.mkdir()
    program = folder / "nvidia-smi"
    program.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(lines) + "\nEND\n")
    program.chmod(0o755)
    return folder


@pytest.mark.parametrize(("visible", "threads"), [(None, 2), ("1,2", 3), ("", 6)])
def test_cores_are_shared_out_among_gpus(project, tmp_path, monkeypatch, visible, threads):
    """Three GPUs, two of them, or none: as many trainings run side by side, each with its share of six cores."""
    monkeypatch.setenv("PATH", f"{listed(tmp_path / 'bin', 3)}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    profile = ("--profile", "workflow/profiles/gpu", "--cores", "6", "--config", "threads=0", "device=auto")
    done = project.snakemake(*profile, "--dry-run", "--forcerun", "train_stage")
    assert set(re.findall(r"threads: (\d+)", done.stdout)) == {str(threads)}, done.stdout
    assert re.search(r"resources: .*\bgpu=1\b", done.stdout)


def test_without_a_gpu_all_cores_are_one_jobs(project, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    profile = ("--profile", "workflow/profiles/default", "--cores", "6", "--config", "threads=0")
    done = project.snakemake(*profile, "--dry-run", "--forcerun", "train_stage")
    assert set(re.findall(r"threads: (\d+)", done.stdout)) == {"6"}, done.stdout


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="needs a machine without NVIDIA's driver")
def test_where_there_is_no_gpu_none_is_asked_for_and_jobs_run_side_by_side(project):
    profile = ("--profile", "workflow/profiles/default", "--config", "device=auto")
    done = project.snakemake(*profile, "--dry-run", "--forcerun", "rank_gallery")
    assert "rule rank_gallery" in done.stdout
    assert not re.search(r"\bgpu=1\b", done.stdout), done.stdout


def test_costs_are_measured_on_all_cores_however_many_gpus_there_are():
    assert re.search(r"^ +threads: all_cores\(\)$", (ROOT / "workflow/rules/cost.smk").read_text(), flags=re.MULTILINE)


def test_on_a_cluster_trainings_get_the_cores_of_the_profile_and_rules_say_what_they_need(project):
    done = project.snakemake(
        *("--profile", "workflow/profiles/slurm", "--cores", "5", "--config", "threads=0", "device=auto"),
        *("--dry-run", "--forcerun", "train_stage"),
    )
    trainings = re.findall(r"rule train_stage:(?:\n    .*)+", done.stdout)
    assert len(trainings) == len(STUDY["models"]), done.stdout
    for training in trainings:
        assert "threads: 5" in training
        resources = re.search(r"resources: (.*)", training).group(1)
        assert re.search(r"\bmem_mb=80\d\d\b", resources), resources
        assert "runtime=240" in resources
        assert "gpu=1" in resources
