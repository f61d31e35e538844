# From features to maps: coordinates on a plane, and how far they can be trusted.
#
#   results/<study>/maps/<origin>/<map>.{h5,csv}
#
# The origin is what gave the features, as in rank.smk.


rule map_features:
    input:
        features=lambda w: plan_of(w).mapped_features(w),
    output:
        map="results/{study}/maps/{origin}/{map}.h5",
        metrics="results/{study}/maps/{origin}/{map}.csv",
    log:
        "results/{study}/logs/map_features/{origin}/{map}.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(8000, times=8),
        runtime=growing(60),
    params:
        code=lambda w: code_of("map_features", parts=plan_of(w).parts_of_map(w.map)),
        settings=lambda w: plan_of(w).map_settings(w.map),
    script:
        "../scripts/map_features.py"
