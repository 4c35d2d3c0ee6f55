"""SAEs of a chain, small to large -> what each has that the one before it lacks, and every SAE between two neighbours.

INPUTS   <results>/saes/COHORT/seed-0/..., <results>/activations/PASS/HOOK/heldout/...
OUTPUTS  <results>/stitch/NAME/1/stitch.json, insertions.parquet, components.parquet, swaps.parquet, roc.parquet,
         path.parquet, sae/
Steps: compare decoder rows; add each latent alone, swap each component alone, and go from the small SAE to the large one.
"""

for _stitch, _numbers in stages.stitch.jobs(pipeline).items():

    # One rule a chain: which files it makes depends on what is there.
    rule:
        name:
            f"stitch_{_stitch.replace('-', '_')}"
        input:
            stages.stitch.inputs(pipeline, _stitch, _numbers),
            stale=since("stitch", *((_stitch, number) for number in _numbers)),
        output:
            stages.stitch.outputs(pipeline, _stitch, _numbers),
        log:
            f"<logs>/stitch/{_stitch}.log",
        conda:
            ENVIRONMENT
        threads: stages.stitch.threads(pipeline, _stitch)
        resources:
            gpu=GPUS,
            mem_mb=growing(stages.stitch.memory(pipeline, _stitch)),
            runtime=lasting(720),
        params:
            settings=stages.stitch.command(pipeline, _stitch, _numbers),
        shell:
            "python -m sae_stability stitch {params.settings} --threads {threads} &> {log:q}"


rule all_stitches:
    input:
        stages.stitch.all_outputs(pipeline),
