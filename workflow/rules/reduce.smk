# From features to codes: reducers fitted on a gallery's features, and what they make of queries and gallery.
#
#   results/<study>/codes/<origin>/<retrieval>/<batch>/<part>.h5           codes of both sides by every reducer
#   results/<study>/codes/<origin>/<retrieval>/<batch>/<part>/<reducer>.h5   the fitted reducers
#
# A batch is an entry of a retrieval's `reducers`, whose reducers are fitted by one job. A part is a fold of the gallery
# (fold1, fold2, …), searched by reducers fitted on all others, or `whole`, which costs are measured of. The reducer `none` makes no codes: its
# rankings read the features.


rule reduce_features:
    input:
        queries=lambda w: plan_of(w).searched_features(w, "queries"),
        gallery=lambda w: plan_of(w).searched_features(w, "gallery"),
    output:
        codes="results/{study}/codes/{origin}/{retrieval}/{batch}/{part}.h5",
        fitted=directory("results/{study}/codes/{origin}/{retrieval}/{batch}/{part}"),
    log:
        "results/{study}/logs/reduce_features/{origin}/{retrieval}/{batch}/{part}.log",
    conda:
        "../../envs/environment.yaml"
    # Jobs run side by side; the bits of what one thread learns do not depend on how many there are.
    threads: 1
    resources:
        gpu=lambda w: plan_of(w).reducing_gpus(w.retrieval, w.batch),
        mem_mb=memory(8000, times=8),
        runtime=growing(240),
    params:
        code=lambda w: code_of(
            "reduce_features", plan_of(w).reducer_module(w.retrieval, w.batch)
        ),
        reducers=lambda w: plan_of(w).batch(w.retrieval, w.batch),
        folds=lambda w: plan_of(w).folds(w.retrieval, w.part),
        fold=lambda w: plan_of(w).fold(w.part),
    script:
        "../scripts/reduce_features.py"
