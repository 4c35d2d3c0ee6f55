"""SAEs made elsewhere -> SAEs in the project's own format, instead of training.

INPUTS   checkpoints in the field's formats, local or on the hub
OUTPUTS  <results>/fetched/..., <results>/saes/COHORT/seed-0/sae.safetensors, cfg.json
Steps: fetch SAEs from the hub; read and check each SAE, and write it like one that was trained here.
"""

ON_THE_HUB = stages.external.on_the_hub(study)


rule fetch_sae:
    output:
        directory(results.fetched("{fetched}")),
    log:
        "<logs>/fetch/{fetched}.log",
    wildcard_constraints:
        fetched=any_of(ON_THE_HUB),
    retries: 2
    conda:
        ENVIRONMENT
    params:
        settings=lambda wildcards: stages.external.fetch_command(ON_THE_HUB[wildcards.fetched]),
    shell:
        "python -m sae_stability fetch {params.settings} --out {output:q} &> {log:q}"


for _cohort, _seeds in stages.external.jobs(pipeline).items():

    rule:
        name:
            f"import_sae_{_cohort.replace('-', '_')}"
        input:
            # The settings hold checksums of these files, so that changed weights count and a new date does not.
            lambda wildcards, cohort=study.cohorts[_cohort]: ancient(
                stages.external.inputs(results, cohort, int(wildcards.seed))
            ),
            stale=lambda wildcards, cohort=_cohort: since("external", (cohort, int(wildcards.seed))),
        output:
            stages.external.outputs(results, _cohort, "{seed}"),
        log:
            f"<logs>/import/{_cohort}/seed-{{seed}}.log",
        wildcard_constraints:
            seed=any_of(_seeds),
        conda:
            ENVIRONMENT
        resources:
            mem_mb=growing(stages.external.memory(study.cohorts[_cohort])),
        params:
            settings=lambda wildcards, cohort=study.cohorts[_cohort]: stages.external.command(
                pipeline, cohort, int(wildcards.seed)
            ),
            out=subpath(output[0], parent=True),
        shell:
            "python -m sae_stability convert {params.settings} --out {params.out:q} &> {log:q}"
