# What all rules share: the checked configuration, the plan of every study, and fingerprints of code.

import os
import shutil
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import RerunTrigger

WORKFLOW = Path(workflow.basedir) / "workflow"
sys.path.insert(0, str(WORKFLOW))
# Snakemake reads the paths of conda environments as patterns.
if {"{", "}"} & set(str(workflow.basedir)):
    raise WorkflowError(
        f"trazo lies in {workflow.basedir}, and Snakemake takes what stands in braces for the name of a wildcard; "
        "rename that folder."
    )
# Scripts run in processes of their own and import the library from the same place.
os.environ.update(
    PYTHONPATH=os.pathsep.join(
        p for p in (str(WORKFLOW), os.getenv("PYTHONPATH", "")) if p
    )
)
# Threads that wait for one another spin a little, not long: where other programs share the cores, training is several
# times slower otherwise, and on idle cores it is as fast.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

from trazo.config import read_settings
from trazo.errors import TrazoError
from trazo.plan import PUBLISHED
from trazo.planning import make_plans
from trazo.printable import printable
from trazo.provenance import code_fingerprint
from trazo.store import need_writable


def planned(values):
    """Return the checked plans of all studies that configuration values name."""
    try:
        return make_plans(read_settings(values), cache=Path(".snakemake") / "trazo")
    except TrazoError as error:
        raise WorkflowError(
            f"The configuration cannot be run.\n{printable(str(error))}"
        ) from None


def need_writable_results():
    """End the run before its first job where results cannot be written."""
    try:
        need_writable("results")
    except TrazoError as error:
        raise WorkflowError(f"Nothing can be run.\n{error}") from None


def all_cores():
    """Return the cores of a local run, or those that a job of a cluster was given; where none are named, 8."""
    if workflow.remote_exec:
        return int(os.getenv("TRAZO_THREADS", 8))
    try:
        return workflow.cores
    except WorkflowError:
        return 8


def default_threads():
    """Return the threads of a job that takes what it can get; on a cluster 8, unless `--cores` says otherwise.

    In a local run these are all cores, shared out among as many jobs as there are GPUs (`--resources gpu=…`).
    A job of a cluster reads this file on its own machine, where it has other cores: it takes what it was given.
    """
    gpus = workflow.global_resources.get("gpu")
    # With `--jobs`, cores are those of each of a cluster's jobs.
    shared = gpus is not None and workflow.nodes is None and not workflow.remote_exec
    return max(1, all_cores() // max(1, gpus.value)) if shared else all_cores()


def gpus_of_a_job():
    """Return the GPUs that a job which computes with torch asks for: none where it will find none.

    Where none are, limits on them would hold up jobs that could run side by side.
    """
    here = workflow.local_exec and not workflow.remote_exec
    if settings.device == "auto" and here and shutil.which("nvidia-smi") is None:
        return 0
    return int(settings.device != "cpu")


def growing(amount):
    """Return a resource that grows with every attempt: a job that ran out of it gets more the next time."""
    return lambda wildcards, attempt: amount * attempt


def memory(megabytes, times):
    """Return the main memory, MB, of a job that needs so many and its input files' size so many times over.

    It grows with every attempt. Images lie compressed in their files, and take up a multiple in memory.
    """
    return lambda wildcards, input, attempt: round(
        (megabytes + times * input.size_mb) * attempt
    )


plans = planned(config)
settings = next(iter(plans.values())).settings
configured = list(plans.values())
# Of a job that computes with torch. Results are the same bytes for the same number only: it splits sums.
THREADS = settings.threads or default_threads()
# What jobs of a cluster read this file with.
os.environ["TRAZO_THREADS"] = str(default_threads())


wildcard_constraints:
    study="[^/]+",
    source="[^/]+",
    dataset="[^/]+",
    split="[^/]+",
    model="[^/]+",
    seed=r"\d+",
    stage="[^/]+",
    epoch=r"\d+",
    imported="[^/]+",
    side="queries|gallery",
    origin=r"[^/]+/seed\d+/[^/]+/epoch\d+|[^/]+/imported",
    retrieval="[^/]+",
    reducer="[^/]+",
    batch="[^/]+",
    part=r"whole|fold\d+",
    distance="[^/]+",
    ranker="[^/]+",
    map="[^/]+",
    table="[^/]+",
    figure="[^/]+",


def judge_code_by_meaning():
    """Leave a script's time stamp out of what makes a job stale; its meaning is in the parameter `code`.

    Without this a comment in a script, or a fresh checkout, would train a network again. Snakemake has no directive
    for it, and sets the triggers after it has read this file; input functions are the first to be called then.
    """
    if workflow.dag_settings is not None:
        workflow.dag_settings.rerun_triggers = frozenset(workflow.rerun_triggers) - {
            RerunTrigger.CODE
        }


def plan_of(wildcards):
    """Return the plan of a rule's study; a study of workflow/studies need not be configured to be asked for."""
    judge_code_by_meaning()
    if wildcards.study not in plans:
        plans.update(planned({**config, "studies": [wildcards.study], "overrides": {}}))
    return plans[wildcards.study]


# Hundreds of jobs of a step have a few fingerprints between them.
fingerprints = {}


def code_of(script, *modules, files=(), parts=None):
    """Return the fingerprint of a script, of what it imports, of modules and parts it loads by name, and of files."""
    scripts = (WORKFLOW / "scripts" / f"{script}.py",)
    asked = repr((script, modules, files, parts))
    if asked not in fingerprints:
        try:
            fingerprints[asked] = code_fingerprint(
                *modules, scripts=scripts, files=tuple(files), parts=parts
            )
        except TrazoError as error:
            raise WorkflowError(str(error)) from None
    return fingerprints[asked]


def reports():
    """Return the report of every configured study."""
    return [f"{plan.root}/report.html" for plan in configured]


def every(kind):
    """Return all outputs of one kind over the configured studies."""
    return [path for plan in configured for path in getattr(plan, kind)()]


# What the pages are made of counts by its bytes.
TEMPLATES = sorted((WORKFLOW / "trazo/report/templates").iterdir())


def shown_as(kind):
    """Return what tells a table or figure from others in Snakemake's own report: its title in the study."""

    def labels(wildcards):
        shown = getattr(plan_of(wildcards).study, f"{kind}s")
        title = shown[getattr(wildcards, kind)].title
        # Braces would be taken for wildcards.
        return {
            kind: title.replace("{", "(").replace("}", ")"),
            "name": "{" + kind + "}",
        }

    return labels
