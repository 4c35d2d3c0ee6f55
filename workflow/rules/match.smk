"""SAEs -> exact matches of every pair of a cohort.

INPUTS   <results>/saes/COHORT/seed-0/..., <results>/evaluation/COHORT/seed-0.parquet
OUTPUTS  <results>/matches/COHORT/0-1.parquet
Steps: match encoder and decoder separately, with a proof. A job takes pairs without a match: a new seed adds its own.
"""

for _name, _pairs in stages.match.jobs(pipeline).items():
    _shape = stages.match.shape(study, _pairs)

    # One rule a job: which files it makes depends on what is there.
    rule:
        name:
            f"match_{_name}"
        input:
            **stages.match.inputs(pipeline, _pairs),
            stale=since("match", *_pairs),
        output:
            stages.match.outputs(pipeline, _pairs),
        log:
            f"<logs>/match/{_name}.log",
        conda:
            ENVIRONMENT
        threads: stages.match.threads(_shape[0])
        resources:
            mem_mb=growing(stages.match.memory(*_shape)),
            runtime=lasting(120),
        params:
            settings=stages.match.command(pipeline, _pairs),
        shell:
            "python -m sae_stability match {params.settings} --threads {threads} &> {log:q}"
