# What all rules share: the checked configuration, the plan of every study, and fingerprints of code.

import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import RerunTrigger

WORKFLOW = Path(workflow.basedir) / "workflow"
sys.path.insert(0, str(WORKFLOW))
# Scripts run in processes of their own and import the library from the same place.
os.environ["PYTHONPATH"] = os.pathsep.join(
    p for p in (str(WORKFLOW), os.environ.get("PYTHONPATH", "")) if p
)

from trazo.config import read_settings
from trazo.errors import TrazoError
from trazo.plan import PUBLISHED, make_plans
from trazo.provenance import code_fingerprint

try:
    settings = read_settings(config)
    plans = make_plans(settings, cache=Path(".snakemake") / "trazo")
except TrazoError as error:
    raise WorkflowError(f"The configuration cannot be run.\n{error}") from None

# What a script and the library mean reaches its rule as the parameter `code`. Snakemake's own look at a script's
# time stamp would run a training again for a comment in it.
if workflow.dag_settings is not None:  # not there while Snakemake only lints
    workflow.dag_settings.rerun_triggers = frozenset(workflow.rerun_triggers) - {RerunTrigger.CODE}


wildcard_constraints:
    study="[^/]+",
    source="[^/]+",
    dataset="[^/]+",
    split="[^/]+",
    model="[^/]+",
    seed=r"\d+",
    stage="[^/]+",
    epoch=r"\d+",
    retrieval="[^/]+",
    distance="[^/]+",
    table="[^/]+",
    figure="[^/]+",


def plan_of(wildcards):
    """Return the plan of a rule's study."""
    try:
        return plans[wildcards.study]
    except KeyError:
        raise WorkflowError(
            f"results/{wildcards.study}: the study {wildcards.study!r} is not configured; add it to `studies` "
            f"(--config 'studies=[{wildcards.study}]')."
        ) from None


def code_of(script, *modules):
    """Return the fingerprint of a script, of the library modules it imports, and of those it loads by name."""
    try:
        return code_fingerprint(*modules, scripts=(WORKFLOW / "scripts" / f"{script}.py",))
    except TrazoError as error:
        raise WorkflowError(str(error)) from None


def reports():
    """Return the report of every configured study."""
    return [f"{plan.root}/report.html" for plan in plans.values()]


def every(kind):
    """Return all outputs of one kind over the configured studies."""
    return [path for plan in plans.values() for path in getattr(plan, kind)()]
