# From metrics to tables, figures and the page.
#
#   results/<study>/metrics.csv, timings.csv, comparison.csv, tables/*.{csv,md,tex}, figures/*.{svg,png,json}, report.html
#   results/index.html
#
# What `report` marks is in Snakemake's own report too (snakemake --report report.zip), with the captions of
# workflow/captions.


# How every stage learned, epoch by epoch; all times apart, since metrics.csv is the same on every run.
rule collect_training:
    input:
        histories=lambda w: plan_of(w).histories(),
        times=lambda w: plan_of(w).costs("times"),
    output:
        training="results/{study}/models/training.csv",
        timings="results/{study}/timings.csv",
    log:
        "results/{study}/logs/collect_training.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(2000, times=4),
    params:
        code=code_of("collect_training"),
        data=lambda w: plan_of(w).learned_data(),
    script:
        "../scripts/collect_training.py"


# All metrics of a study in one tidy file.
rule collect_metrics:
    input:
        rankings=lambda w: plan_of(w).ranking_metrics(),
        classifications=lambda w: plan_of(w).classifications(),
        maps=lambda w: plan_of(w).map_metrics(),
        sizes=lambda w: plan_of(w).costs("sizes"),
        training="results/{study}/models/training.csv",
        significance="results/{study}/significance.csv",
    output:
        metrics=report(
            "results/{study}/metrics.csv",
            caption="../captions/metrics.rst",
            category="{study}",
            subcategory="values",
            labels={"values": "all that was measured"},
        ),
    log:
        "results/{study}/logs/collect_metrics.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(2000, times=4),
    params:
        code=code_of("collect_metrics"),
    script:
        "../scripts/collect_metrics.py"


# Every published value of the study beside what was measured, or why nothing was.
rule compare_published:
    input:
        metrics="results/{study}/metrics.csv",
        timings="results/{study}/timings.csv",
        published=PUBLISHED,
    output:
        comparison=report(
            "results/{study}/comparison.csv",
            caption="../captions/comparison.rst",
            category="{study}",
            subcategory="values",
            labels={"values": "published beside measured"},
        ),
    log:
        "results/{study}/logs/compare_published.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(2000, times=4),
    params:
        code=code_of("compare_published"),
        study=lambda w: plan_of(w).comparison_settings(),
        departures=lambda w: plan_of(w).departures(),
    script:
        "../scripts/compare_published.py"


rule render_table:
    input:
        metrics="results/{study}/metrics.csv",
        timings="results/{study}/timings.csv",
        published=PUBLISHED,
        significance="results/{study}/significance.csv",
    output:
        csv=report(
            "results/{study}/tables/{table}.csv",
            caption="../captions/table.rst",
            category="{study}",
            subcategory="tables",
            labels=shown_as("table"),
        ),
        md="results/{study}/tables/{table}.md",
        tex="results/{study}/tables/{table}.tex",
    log:
        "results/{study}/logs/render_table/{table}.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(2000, times=4),
    params:
        code=code_of("render_table"),
        study=lambda w: plan_of(w).table_settings(w.table),
        caveat=lambda w: plan_of(w).caveat(w.table),
    script:
        "../scripts/render_table.py"


rule render_figure:
    input:
        unpack(lambda w: plan_of(w).figure_inputs(w.figure)),
    output:
        svg=report(
            "results/{study}/figures/{figure}.svg",
            caption="../captions/figure.rst",
            category="{study}",
            subcategory="figures",
            labels=shown_as("figure"),
        ),
        png="results/{study}/figures/{figure}.png",
        plot="results/{study}/figures/{figure}.json",
    log:
        "results/{study}/logs/render_figure/{figure}.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(2000, times=4),
    params:
        code=code_of("render_figure"),
        study=lambda w: plan_of(w).figure_settings(w.figure),
    script:
        "../scripts/render_figure.py"


rule render_report:
    input:
        metrics="results/{study}/metrics.csv",
        timings="results/{study}/timings.csv",
        comparison="results/{study}/comparison.csv",
        significance="results/{study}/significance.csv",
        agreement=lambda w: plan_of(w).agreements(),
        tables=lambda w: plan_of(w).tables(),
        figures=lambda w: plan_of(w).pictures() + plan_of(w).plots(),
        artifacts=lambda w: plan_of(w).artifacts(),
    output:
        report=report(
            "results/{study}/report.html",
            caption="../captions/report.rst",
            category="{study}",
            subcategory="report",
            labels={"report": "the whole report"},
        ),
        summary="results/{study}/run.md",
        verdict="results/{study}/verdict.json",
    log:
        "results/{study}/logs/render_report.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(2000, times=4),
        runtime=growing(60),
    params:
        code=code_of(
            "render_report",
            files=TEMPLATES,
        ),
        study=lambda w: plan_of(w).study.model_dump(mode="json"),
        original=lambda w: plan_of(w).original.model_dump(mode="json"),
        settings=lambda w: plan_of(w).settings_of_report(),
        sources=lambda w: plan_of(w).sources_in_words(),
    script:
        "../scripts/render_report.py"


# A second of work: on a cluster it runs where the command was given.
localrules:
    render_index,


# The front page: all studies of the run, and those of earlier runs whose results lie beside them.
rule render_index:
    input:
        verdicts=sorted(f"{plan.root}/verdict.json" for plan in configured),
    output:
        index="results/index.html",
    log:
        "results/logs/render_index.log",
    conda:
        "../../envs/environment.yaml"
    params:
        code=code_of("render_index", files=TEMPLATES),
    script:
        "../scripts/render_index.py"
