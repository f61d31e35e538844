# From features to codes: a reducer fitted on a gallery's features, and what it makes of queries and gallery.
#
#   results/<study>/codes/<origin>/<retrieval>/<reducer>/{queries,gallery}.h5
#
# Laid out as features, and searched as they are; the reducer `none` makes none, its rankings read the features.


rule reduce_features:
    input:
        queries=lambda w: plan_of(w).unreduced_features(w, "queries"),
        gallery=lambda w: plan_of(w).unreduced_features(w, "gallery"),
    output:
        queries="results/{study}/codes/{origin}/{retrieval}/{reducer}/queries.h5",
        gallery="results/{study}/codes/{origin}/{retrieval}/{reducer}/gallery.h5",
    log:
        "results/{study}/logs/reduce_features/{origin}/{retrieval}/{reducer}.log",
    conda:
        "../../envs/environment.yaml"
    threads: THREADS
    params:
        code=lambda w: code_of(
            "reduce_features", plan_of(w).reducer_module(w.retrieval, w.reducer)
        ),
        reducer=lambda w: plan_of(w).reducer(w.retrieval, w.reducer),
    script:
        "../scripts/reduce_features.py"
