# From features and codes to what searching by them costs: time of a query, part by part, and memory.
#
#   results/<study>/costs/<origin>/<retrieval>/<batch>/sizes.csv   memory, the same on every run
#   results/<study>/costs/<origin>/<retrieval>/<batch>/times.csv   times, which differ from run to run
#
# Of retrievals that ask for it (`cost: true`). A batch is as in `reduce.smk`, and `none` the features as they are.


rule measure_cost:
    input:
        unpack(lambda w: plan_of(w).costed_inputs(w)),
    output:
        sizes="results/{study}/costs/{origin}/{retrieval}/{batch}/sizes.csv",
        times="results/{study}/costs/{origin}/{retrieval}/{batch}/times.csv",
    log:
        "results/{study}/logs/measure_cost/{origin}/{retrieval}/{batch}.log",
    conda:
        "../../envs/environment.yaml"
    # All cores: nothing else runs beside it, and it times what it has to itself.
    threads: all_cores()
    resources:
        gpu=gpus_of_a_job(),
        mem_mb=memory(8000, times=8),
        runtime=growing(120),
    params:
        code=lambda w: code_of(
            "measure_cost",
            *plan_of(w).costed_modules(w),
            parts=plan_of(w).parts_of_cost(w),
        ),
        reducers=lambda w: plan_of(w).costed_reducers(w),
        distances=lambda w: plan_of(w).costed_distances(w),
        device=settings.device,
    script:
        "../scripts/measure_cost.py"
