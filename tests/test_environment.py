"""The environment's files agree with each other and name no address."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
LOCK = (ROOT / "envs" / "requirements.lock").read_text()


def locked(name: str) -> set[str]:
    return set(re.findall(rf"^{re.escape(name)}==(\S+)", LOCK, flags=re.MULTILINE | re.IGNORECASE))


def test_every_locked_package_has_hashes_and_no_address():
    blocks = re.split(r"^(?=[\w.-]+==)", LOCK, flags=re.MULTILINE)[1:]
    assert len(blocks) > 50
    assert all("--hash=sha256:" in block for block in blocks)
    assert not re.search(r"https?:|--index-url|--find-links|file:", LOCK)


def test_every_dependency_is_locked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    for requirement in wanted:
        name = re.match(r"[\w.-]+", requirement).group()
        assert locked(name), f"{name} is not in the lock file; make it anew"


def test_torch_and_torchvision_are_a_pair():
    # torchvision 0.N belongs to torch 2.(N − 15): 0.26 to 2.11.
    (torch,), (vision,) = locked("torch"), locked("torchvision")
    assert int(vision.split(".")[1]) - 15 == int(torch.split(".")[1])


def test_the_conda_file_has_the_locked_versions():
    content = yaml.safe_load((ROOT / "envs" / "environment.yaml").read_text())
    pins = next(d["pip"] for d in content["dependencies"] if isinstance(d, dict))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.match(r"[\w.-]+", d).group().lower() for d in project["dependencies"]}
    assert {pin.partition("==")[0] for pin in pins} == names
    for pin in pins:
        name, _, version = pin.partition("==")
        assert version in locked(name), f"{pin} is not what the lock file has"


def test_the_container_has_what_runs_need():
    recipe = (ROOT / "envs" / "Dockerfile").read_text()
    minimum = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    python = re.search(r"^FROM python:(\d+\.\d+)-slim$", recipe, flags=re.MULTILINE).group(1)
    assert tuple(map(int, python.split("."))) >= tuple(map(int, minimum.split(".")))
    assert "--require-hashes --requirement envs/requirements.lock" in recipe
    copied = {name for line in re.findall(r"^COPY (.+) \S+$", recipe, flags=re.MULTILINE) for name in line.split()}
    assert copied == {"envs", "Snakefile", "config.yaml", "workflow"}
    assert all((ROOT / name).exists() for name in copied)


def test_what_benchmarks_add_is_locked_apart():
    text = (ROOT / "envs" / "bench.lock").read_text()
    blocks = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in block for block in blocks)
    assert not re.search(r"https?:|--index-url|--find-links|file:", text)
    added = {re.match(r"[\w.-]+", block).group() for block in blocks}
    assert not any(locked(name) for name in added)
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["bench"]
    assert {re.match(r"[\w.-]+", requirement).group() for requirement in wanted} <= added
