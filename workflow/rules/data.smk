# From sources to images.h5: drawings made, downloaded or read in place, split, and turned into pixels.
#
#   results/sources/<source>/<category>.bin             downloaded drawings, shared by all studies
#   results/<study>/doodles/<dataset>/<category>.bin    drawings made on the spot
#   results/<study>/images/<dataset>/<split>.h5         pixels, labels, ids


# On a cluster they run where the command was given: its other machines often reach no network.
localrules:
    download_drawings,
    download_archive,


# Draws the embedded animals: the data of a study that names no source.
rule draw_doodles:
    output:
        directory("results/{study}/doodles/{dataset}"),
    log:
        "results/{study}/logs/draw_doodles/{dataset}.log",
    conda:
        "../../envs/environment.yaml"
    params:
        code=code_of("draw_doodles"),
        doodles=lambda w: plan_of(w).doodles(w.dataset),
    script:
        "../scripts/draw_doodles.py"


# Fetches one QuickDraw category; an interrupted download goes on where it stopped.
rule download_drawings:
    output:
        "results/sources/{source}/{category}.bin",
    log:
        "results/sources/logs/{source}/{category}.log",
    retries: 2
    conda:
        "../../envs/environment.yaml"
    resources:
        download=1,
    params:
        url=lambda w: settings.sources.get(w.source, ""),
    script:
        "../scripts/download_drawings.py"


# Fetches an archive of images.
rule download_archive:
    output:
        "results/sources/{source}/archive.zip",
    log:
        "results/sources/logs/{source}/archive.log",
    retries: 2
    conda:
        "../../envs/environment.yaml"
    resources:
        download=1,
    params:
        url=lambda w: settings.sources.get(w.source, ""),
    script:
        "../scripts/download_archive.py"


# Turns one split of a dataset into pixels.
rule build_images:
    input:
        sources=lambda w: plan_of(w).source_inputs(w.dataset),
    output:
        images="results/{study}/images/{dataset}/{split}.h5",
    log:
        "results/{study}/logs/build_images/{dataset}/{split}.log",
    # All data first: what is wrong with them is told before anything is trained.
    priority: 10
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=growing(12000),
        runtime=growing(120),
    params:
        code=lambda w: code_of(
            "build_images", parts=plan_of(w).parts_of_images(w.dataset)
        ),
        source=lambda w: plan_of(w).source(w.dataset),
        listing=lambda w: plan_of(w).source_listing(w.dataset, w.split),
        dataset=lambda w: plan_of(w).dataset_settings(w.dataset, w.split),
    script:
        "../scripts/build_images.py"
