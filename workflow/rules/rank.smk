# From features to rankings: per query every metric and the nearest items; their means with intervals.
#
#   results/<study>/rankings/<origin>/<retrieval>/<reducer>/<distance>/<ranker>.{h5,csv}
#   results/<study>/significance.csv
#   results/<study>/agreement.csv, where the exact ranker and others search alike
#
# The origin is what gave the features: <model>/seed<seed>/<stage>/epoch<epoch>, or <name>/imported. The reducer is
# `none` where the features themselves are searched. Folds of a gallery are searched one after the other by one job.


rule rank_gallery:
    input:
        queries=lambda w: plan_of(w).searched_features(w, "queries"),
        gallery=lambda w: plan_of(w).searched_features(w, "gallery"),
        codes=lambda w: plan_of(w).searched_codes(w),
    output:
        ranking="results/{study}/rankings/{origin}/{retrieval}/{reducer}/{distance}/{ranker}.h5",
        metrics="results/{study}/rankings/{origin}/{retrieval}/{reducer}/{distance}/{ranker}.csv",
    log:
        "results/{study}/logs/rank_gallery/{origin}/{retrieval}/{reducer}/{distance}/{ranker}.log",
    conda:
        "../../envs/environment.yaml"
    threads: lambda w: plan_of(w).ranking_threads(THREADS)
    resources:
        gpu=gpus_of_a_job(),
        mem_mb=memory(4000 + settings.memory_mib, times=4),
        runtime=growing(30),
    params:
        code=lambda w: code_of(
            "rank_gallery",
            parts=plan_of(w).parts_of_ranking(w.retrieval, w.distance, w.ranker),
        ),
        retrieval=lambda w: plan_of(w).retrieval(w.retrieval),
        ranker=lambda w: plan_of(w).ranker(w.retrieval, w.ranker),
        device=settings.device,
        memory_mib=settings.memory_mib,
    script:
        "../scripts/rank_gallery.py"


# Paired tests between all methods that search the same gallery for the same queries.
rule compare_methods:
    input:
        rankings=lambda w: plan_of(w).rankings(),
        metrics=lambda w: plan_of(w).ranking_metrics(),
    output:
        significance="results/{study}/significance.csv",
    log:
        "results/{study}/logs/compare_methods.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(2000, times=4),
        runtime=growing(60),
    params:
        code=code_of("compare_methods"),
    script:
        "../scripts/compare_methods.py"


# How far the lists of other rankers are from the exact ones, and what explains it.
rule compare_rankers:
    input:
        rankings=lambda w: plan_of(w).rivals_of_exact(),
        metrics=lambda w: [
            f"{path.removesuffix('.h5')}.csv" for path in plan_of(w).rivals_of_exact()
        ],
    output:
        agreement="results/{study}/agreement.csv",
    log:
        "results/{study}/logs/compare_rankers.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(2000, times=4),
    params:
        code=code_of("compare_rankers"),
    script:
        "../scripts/compare_rankers.py"
