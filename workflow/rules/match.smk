"""SAEs -> exact matches of every pair of a cohort -> overlap tables.

INPUTS   <results>/saes/COHORT/seed-0/..., <results>/evaluation/COHORT/seed-0.parquet
OUTPUTS  <results>/matches/COHORT/0-1.parquet, <results>/floors/384x384/0.parquet
         <results>/overlap/COHORT/pairs.parquet, thresholds, seeds, latents, intervals
Steps: match encoder and decoder apart, with a proof; match random dictionaries of the same shape; count what is shared.
A job takes the pairs of a cohort, or the repeats of a shape, that are not there yet: a new seed matches its own pairs.
"""

for _name, _pairs in match_jobs().items():

    # One rule a job: which files it makes depends on what is there.
    rule:
        name:
            f"match_{_name}"
        input:
            match_inputs(_pairs),
        output:
            [match_file(*pair) for pair in _pairs],
        log:
            f"<logs>/match/{_name}.log",
        conda:
            ENVIRONMENT
        threads: match_threads(study.cohorts[_pairs[0][0]].n_latents)
        resources:
            mem_mb=match_memory(study.cohorts[_pairs[0][0]].n_latents, study.cohorts[_pairs[0][0]].d_model),
            runtime=120,
        params:
            settings=match_settings(_pairs),
        shell:
            "python -m sae_stability match {params.settings} --threads {threads} &> {log:q}"


for _name, _repeats in floor_jobs().items():

    rule:
        name:
            f"floor_{_name}"
        output:
            [floor_file(*repeat) for repeat in _repeats],
        log:
            f"<logs>/floor/{_name}.log",
        conda:
            ENVIRONMENT
        threads: match_threads(_repeats[0][0])
        resources:
            mem_mb=match_memory(*_repeats[0][:2]),
            runtime=120,
        params:
            settings=floor_settings(_repeats),
        shell:
            "python -m sae_stability floor {params.settings} --threads {threads} &> {log:q}"


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
