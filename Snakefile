# trazo: from drawings and photos to trained networks, rankings, and a report beside the published values.
#
# Results lie in results/<study>/; see README.md. Every path below is relative to the folder of the run.

from snakemake.utils import min_version

min_version("9.8")


configfile: "config.yaml"


# The opening words of Snakemake's own report (snakemake --report report.zip).
report: "workflow/captions/study.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/reduce.smk"
include: "workflow/rules/rank.smk"
include: "workflow/rules/cost.smk"
include: "workflow/rules/maps.smk"
include: "workflow/rules/report.smk"


onstart:
    # Snakemake itself says only which folder it could not make.
    need_writable_results()


onsuccess:
    # `make` says it itself, also when there was nothing to do.
    if not os.getenv("MAKELEVEL"):
        for report in reports():
            print(f"Report: {report}")


# Everything the configured studies produce.
rule all:
    default_target: True
    input:
        reports(),
        every("tables"),
        every("pictures"),
        every("comparisons"),
        "results/index.html",
