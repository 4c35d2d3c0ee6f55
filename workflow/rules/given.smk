"""SAEs made elsewhere -> SAEs in the project's own format, in the place of training.

INPUTS   checkpoints in the field's formats, local or on the hub
OUTPUTS  <results>/fetched/..., <results>/saes/COHORT/seed-0/sae.safetensors, cfg.json
Steps: fetch what lies on the hub; read each SAE, check it and write it as if it had been trained here.
"""

FETCHED = {
    Path(fetched_folder(sae)).name: sae for cohort in study.external.values() for sae in cohort.saes if sae.path is None
}


rule fetch_sae:
    output:
        directory("<results>/fetched/{fetched}"),
    log:
        "<logs>/fetch/{fetched}.log",
    wildcard_constraints:
        fetched=any_of(FETCHED),
    retries: 2
    conda:
        ENVIRONMENT
    params:
        settings=lambda wildcards: flags(
            repo=FETCHED[wildcards.fetched].repo,
            folder=FETCHED[wildcards.fetched].folder,
            revision=FETCHED[wildcards.fetched].revision,
        ),
    shell:
        "python -m sae_stability fetch {params.settings} --out {output:q} &> {log:q}"


rule import_sae:
    input:
        # A file that changed is seen by the fingerprint among the job's settings; one that was only touched is not.
        lambda wildcards: [ancient(file) for file in given_files(*sae_of(wildcards))],
    output:
        multiext("<results>/saes/{sae}/", "sae.safetensors", "cfg.json"),
    log:
        "<logs>/import/{sae}.log",
    wildcard_constraints:
        sae=any_of(UNREAD),
    conda:
        ENVIRONMENT
    resources:
        mem_mb=lambda wildcards: megabytes(40 * sae_of(wildcards)[0].n_latents * sae_of(wildcards)[0].d_model),
    params:
        settings=import_settings,
        out=subpath(output[0], parent=True),
    shell:
        "python -m sae_stability convert {params.settings} --out {params.out:q} &> {log:q}"
