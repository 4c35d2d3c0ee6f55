"""Everything that is known of latents -> a site to look at them, which opens from the disk.

INPUTS   <results>/overlap/..., <results>/evaluation/..., <results>/matches/..., and where the study asks for them
         <results>/firing/..., contexts/..., cofiring/..., explanations/..., scores/..., consensus/..., stitch/...,
         and of meta-SAEs, what they take apart, and SAEs of models with a head <results>/saes/...
OUTPUTS  <results>/explorer/index.html, and data/record.json
"""

if pipeline.unfinished["explorer"]:

    rule explorer:
        input:
            stages.explorer.inputs(pipeline),
            stale=since("explorer", "explorer"),
        output:
            page=results.explorer,
            record=results.explorer_record,
        log:
            "<logs>/explorer.log",
        conda:
            ENVIRONMENT
        threads: stages.explorer.threads(pipeline)
        resources:
            mem_mb=growing(stages.explorer.memory(pipeline)),
            runtime=lasting(120),
        params:
            settings=lambda wildcards: stages.explorer.command(pipeline),
            out=subpath(output[0], parent=True),
        shell:
            "python -m sae_stability explorer {params.settings} --out {params.out:q} --threads {threads} &> {log:q}"
