"""SAEs -> exact matches of every pair of a cohort -> overlap tables.

INPUTS   <results>/saes/COHORT/seed-0/..., <results>/evaluation/COHORT/seed-0.parquet
OUTPUTS  <results>/matches/COHORT/0-1.parquet, <results>/floors/384x384/0.parquet
         <results>/overlap/COHORT/pairs.parquet, thresholds, seeds, latents, intervals
Steps: match encoder and decoder apart, with a proof; match random dictionaries of the same shape; count what is shared.
"""


rule match:
    input:
        sae_a="<results>/saes/{cohort}/seed-{a}/sae.safetensors",
        sae_b="<results>/saes/{cohort}/seed-{b}/sae.safetensors",
        latents_a="<results>/evaluation/{cohort}/seed-{a}.parquet",
        latents_b="<results>/evaluation/{cohort}/seed-{b}.parquet",
    output:
        "<results>/matches/{cohort}/{a}-{b}.parquet",
    log:
        "<logs>/match/{cohort}/{a}-{b}.log",
    wildcard_constraints:
        a=r"\d+",
        b=r"\d+",
    conda:
        ENVIRONMENT
    threads: lambda wildcards: match_threads(study.cohorts[wildcards.cohort].n_latents)
    resources:
        mem_mb=lambda wildcards: dictionary_memory(
            study.cohorts[wildcards.cohort].n_latents, study.cohorts[wildcards.cohort].d_model
        ),
        runtime=120,
    params:
        code=code_hash("match"),
        a=subpath(input.sae_a, parent=True),
        b=subpath(input.sae_b, parent=True),
    shell:
        "python -m sae_stability match --a {params.a:q} --b {params.b:q} "
        "--latents-a {input.latents_a:q} --latents-b {input.latents_b:q} "
        "--threads {threads} --out {output:q} &> {log:q}"


rule floor:
    output:
        "<results>/floors/{n_latents}x{d_model}/{rep}.parquet",
    log:
        "<logs>/floor/{n_latents}x{d_model}-{rep}.log",
    wildcard_constraints:
        n_latents=r"\d+",
        d_model=r"\d+",
        rep=r"\d+",
    conda:
        ENVIRONMENT
    threads: lambda wildcards: match_threads(int(wildcards.n_latents))
    resources:
        mem_mb=lambda wildcards: dictionary_memory(int(wildcards.n_latents), int(wildcards.d_model)),
        runtime=120,
    params:
        code=code_hash("floor"),
    shell:
        "python -m sae_stability floor --n-latents {wildcards.n_latents} --d-model {wildcards.d_model} "
        "--rep {wildcards.rep} --threads {threads} --out {output:q} &> {log:q}"


rule overlap:
    input:
        unpack(overlap_inputs),
    output:
        expand("<results>/overlap/{{cohort}}/{table}.parquet", table=OVERLAP_TABLES),
    log:
        "<logs>/overlap/{cohort}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        code=code_hash("overlap"),
        settings=overlap_settings,
        out=subpath(output[0], parent=True),
    shell:
        "python -m sae_stability overlap {params.settings} --out {params.out:q} &> {log:q}"
