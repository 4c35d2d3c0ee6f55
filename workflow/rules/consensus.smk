"""SAEs of a cohort and their matches -> groups of latents over seeds, and the consensus SAEs.

INPUTS   <results>/saes/COHORT/seed-0/..., <results>/evaluation/COHORT/seed-0.*, <results>/matches/COHORT/0-1.parquet,
         <results>/activations/PASS/HOOK/heldout/...
OUTPUTS  <results>/consensus/COHORT/groups.parquet and other tables, seed-0.parquet, seed-0.json; at-least-2/... beside
Steps: group shared latents; make an SAE of the groups of at least m seeds; measure it; leave each seed out once.
"""

for _cohort in pipeline.unfinished["consensus"]:

    # One rule a cohort: which files it makes depends on its seeds.
    rule:
        name:
            f"consensus_{_cohort.replace('-', '_')}"
        input:
            stages.consensus.inputs(pipeline, study.cohorts[_cohort]),
            stale=since("consensus", _cohort),
        output:
            stages.consensus.outputs(pipeline, study.cohorts[_cohort]),
        log:
            f"<logs>/consensus/{_cohort}.log",
        conda:
            ENVIRONMENT
        threads: stages.consensus.threads(study.cohorts[_cohort])
        resources:
            gpu=GPUS,
            mem_mb=growing(stages.consensus.memory(study.cohorts[_cohort])),
            runtime=lasting(720),
        params:
            settings=stages.consensus.command(pipeline, study.cohorts[_cohort]),
            out=subpath(output[0], parent=True),
        shell:
            "python -m sae_stability consensus {params.settings} --out {params.out:q} --threads {threads} &> {log:q}"
