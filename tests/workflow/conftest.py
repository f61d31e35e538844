"""A copy of the project with a tiny finished study, for tests that change things and look at what is stale."""

import copy
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]

STUDY = {
    "title": "Tiny",
    "datasets": {
        "pets": {
            "source": "pets",
            "categories": ["cat", "duck", 'the odd one\'s "crab"'],
            "split": {"train": 12, "test": 6},
            "size": 32,
        }
    },
    "models": {
        name: {
            "architecture": "resnet18",
            "options": {"width": 8},
            "channels": 1,
            "feature": "pool",
            "stages": [
                {
                    "name": "classify",
                    "data": "pets/train",
                    "validate_on": "pets/test",
                    "epochs": 1,
                    "batch_size": 12,
                    "optimizer": {"sgd": {"lr": 0.01}},
                }
            ],
        }
        for name in ("one", "two")
    },
    "retrievals": [
        {
            "models": ["one", "two"],
            "queries": "pets/test",
            "gallery": "pets/test",
            "leave_one_out": True,
            "distances": ["euclidean"],
            "metrics": ["map", "recall_precision"],
            "top": 5,
        }
    ],
    "tables": {"map": {"title": "mAP", "metrics": ["map"]}},
    "figures": {
        "curve": {"title": "Curve", "kind": "recall_precision", "options": {"interpolated": False}},
        "sheet": {"title": "Sheet", "kind": "contact_sheet", "options": {"per_class": 1, "top": 3}},
    },
}
# In the tiny study: 2 splits, 2 models, 1 retrieval.
ALL_JOBS = {
    "build_images": 2,
    "train_stage": 2,
    "collect_training": 1,
    "extract_features": 2,
    "evaluate_classifier": 2,
    "rank_gallery": 2,
    "compare_methods": 1,
    "collect_metrics": 1,
    "compare_published": 1,
    "render_table": 1,
    "render_figure": 2,
    "render_report": 1,
    "render_index": 1,
}


def changed(path, value):
    """Return the tiny study with one value replaced, by the keys that lead to it."""
    study = copy.deepcopy(STUDY)
    inner = study
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return study


@dataclass
class Project:
    """A copy of the project in a folder of its own."""

    folder: Path

    def snakemake(self, *arguments: str, check: bool = True, **options) -> subprocess.CompletedProcess:
        """Run Snakemake in the copy; return what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )
        assert not check or done.returncode == 0, done.stdout[-6000:]
        return done

    def stale(self, *arguments: str) -> dict[str, int]:
        """Return how many jobs of each rule a run would start."""
        printed = self.snakemake("--dry-run", *arguments).stdout
        found = dict(re.findall(r"^(\w+) +(\d+)$", printed, flags=re.MULTILINE))
        found.pop("total", None)
        found.pop("all", None)
        assert found or "Nothing to be done" in printed, printed[-3000:]
        return {rule: int(count) for rule, count in found.items()}

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace text in a file of the copy, once."""
        path = self.folder / file
        text = path.read_text()
        assert text.count(old) >= 1, f"{old!r} is not in {file}"
        path.write_text(text.replace(old, new, 1))

    def write_study(self, study: dict, name: str = "tiny") -> None:
        """Write a study of the copy."""
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(study, sort_keys=False))


def copy_project(folder: Path) -> Project:
    """Copy what users get, with drawings beside it and the tiny study configured."""
    from trazo.data.doodles import draw_many
    from trazo.data.quickdraw import write_bin

    shutil.copytree(ROOT / "workflow", folder / "workflow", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "envs", folder / "envs")
    shutil.copy(ROOT / "Snakefile", folder / "Snakefile")
    for category in ("cat", "duck", "crab"):
        name = 'the odd one\'s "crab"' if category == "crab" else category
        write_bin(folder / "my drawings" / f"{name}.bin", draw_many(category, 25, seed=1))
    config = {"studies": ["tiny.yaml"], "sources": {"pets": "my drawings"}, "device": "cpu", "threads": 1}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    project = Project(folder)
    project.write_study(STUDY)
    return project


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Project:
    """The tiny study, run once; tests work on copies of it (`project`)."""
    project = copy_project(tmp_path_factory.mktemp("finished") / "trazo")
    project.snakemake()
    return project


@pytest.fixture
def project(finished, tmp_path) -> Project:
    """A copy of the finished tiny study, time stamps and all."""
    shutil.copytree(finished.folder, tmp_path / "trazo")
    return Project(tmp_path / "trazo")


@pytest.fixture
def empty(tmp_path) -> Project:
    """A copy of the project with nothing configured."""
    folder = tmp_path / "trazo"
    shutil.copytree(ROOT / "workflow", folder / "workflow", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "envs", folder / "envs")
    shutil.copy(ROOT / "Snakefile", folder / "Snakefile")
    (folder / "config.yaml").write_text("{device: cpu, threads: 1}\n")
    return Project(folder)
