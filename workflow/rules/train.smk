# Staged training: one checkpoint and one history a stage.
#
#   results/<study>/models/<model>/seed<seed>/<stage>/checkpoint.pt
#
# A training that is killed leaves checkpoint.pt.resume beside it, undeclared, and goes on from there.


rule train_stage:
    input:
        images=lambda w: plan_of(w).training_images(w.model, w.stage),
        validation=lambda w: plan_of(w).validation_images(w.model, w.stage),
        previous=lambda w: plan_of(w).previous_checkpoint(w.model, w.seed, w.stage),
        weights=lambda w: plan_of(w).starting_weights(w.model, w.seed, w.stage),
    output:
        checkpoint="results/{study}/models/{model}/seed{seed}/{stage}/checkpoint.pt",
        history="results/{study}/models/{model}/seed{seed}/{stage}/history.json",
    log:
        "results/{study}/logs/train_stage/{model}/seed{seed}/{stage}.log",
    conda:
        "../../envs/environment.yaml"
    threads: THREADS
    resources:
        gpu=gpus_of_a_job(),
        workers=settings.workers,
        mem_mb=memory(8000, times=8),
        # A training that runs out of time goes on from its last epoch.
        runtime=growing(240),
    params:
        code=lambda w: code_of(
            "train_stage",
            plan_of(w).architecture_module(w.model),
            *plan_of(w).objective_modules(w.model, w.stage),
            parts=plan_of(w).parts_of_stage(w.model, w.stage),
        ),
        model=lambda w: plan_of(w).training_settings(w.model, w.stage),
        domains=lambda w: plan_of(w).domains(w.model, w.stage, "data"),
        validation_domains=lambda w: plan_of(w).domains(w.model, w.stage, "validate_on"),
        device=settings.device,
    script:
        "../scripts/train_stage.py"
