# From a checkpoint and images to features, and how well the network classifies them; and features made elsewhere.
#
#   results/<study>/features/<model>/seed<seed>/<stage>/epoch<epoch>/<dataset>/<split>.h5
#   results/<study>/features/<name>/imported/{gallery,queries}.h5
#   results/<study>/classification/…/<split>.csv


rule extract_features:
    input:
        images="results/{study}/images/{dataset}/{split}.h5",
        checkpoint="results/{study}/models/{model}/seed{seed}/{stage}/checkpoint.pt",
    output:
        features="results/{study}/features/{model}/seed{seed}/{stage}/epoch{epoch}/{dataset}/{split}.h5",
    log:
        "results/{study}/logs/extract_features/{model}/seed{seed}/{stage}/epoch{epoch}/{dataset}/{split}.log",
    conda:
        "../../envs/environment.yaml"
    threads: THREADS
    resources:
        gpu=gpus_of_a_job(),
        workers=settings.workers,
        mem_mb=memory(8000, times=8),
        runtime=growing(30),
    params:
        code=lambda w: code_of(
            "extract_features",
            plan_of(w).architecture_module(w.model),
            parts=plan_of(w).parts_of_head(w.model),
        ),
        layer=lambda w: plan_of(w).study.models[w.model].feature,
        domain=lambda w: plan_of(w).domain(w.model, w.dataset),
        device=settings.device,
    script:
        "../scripts/extract_features.py"


# Features made elsewhere: whoever has an HDF5 or NPZ file of them enters here.
rule import_features:
    input:
        source=lambda w: plan_of(w).imported_files(w.imported)["source"],
        queries=lambda w: plan_of(w).imported_files(w.imported)["queries"],
    output:
        features="results/{study}/features/{imported}/imported/{side}.h5",
    log:
        "results/{study}/logs/import_features/{imported}/{side}.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(2000, times=4),
    params:
        code=code_of("import_features"),
    script:
        "../scripts/import_features.py"


# Accuracy and loss of the network's own classifier on items whose classes it learned.
rule evaluate_classifier:
    input:
        features="results/{study}/features/{model}/seed{seed}/{stage}/epoch{epoch}/{dataset}/{split}.h5",
    output:
        metrics="results/{study}/classification/{model}/seed{seed}/{stage}/epoch{epoch}/{dataset}/{split}.csv",
    log:
        "results/{study}/logs/evaluate_classifier/{model}/seed{seed}/{stage}/epoch{epoch}/{dataset}/{split}.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        mem_mb=memory(2000, times=4),
    params:
        code=code_of("evaluate_classifier"),
    script:
        "../scripts/evaluate_classifier.py"
