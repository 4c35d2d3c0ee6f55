"""Token blocks -> shards of activations, every hookpoint of a pass in one forward pass; or rows that are there -> shards.

INPUTS   <results>/tokens/TOKENS/..., a matrix, or <results>/saes/COHORT/seed-0/... for their decoder rows
OUTPUTS  <results>/activations/PASS/HOOK/{heldout,chunk-0000,...}/manifest.json, shard-0000.safetensors ...
Steps: forward pass up to the last hookpoint; drop special tokens; shuffle over the chunk; write shards, then manifest.
"""

for _pass in study.passes.values():
    # Two rules a pass: the held-out rows have their own number of shards, and their shards always stay.
    for _name, _chunk in [("chunk", "{chunk}"), ("heldout", "heldout")]:
        _shards = stages.activations.shards(pipeline, _pass, _chunk)

        rule:
            name:
                f"{'extract' if _pass.tokens else 'import'}_{_name}_{_pass.slug.replace('-', '_')}"
            input:
                # As for a corpus, a matrix that changed is seen by the fingerprint among the job's settings.
                source=lambda wildcards, pass_=_pass: (ancient if pass_.matrix else list)(
                    stages.activations.source(pipeline, pass_, wildcards.get("chunk", "heldout"))
                ),
                stale=lambda wildcards, pass_=_pass: since(
                    "activations", *stages.activations.names(pass_, wildcards.get("chunk", "heldout"))
                ),
                waits_for=lambda wildcards, pass_=_pass: stages.activations.waits_for(
                    pipeline, pass_, wildcards.get("chunk", "heldout")
                ),
            output:
                stages.activations.manifests(pipeline, _pass, _chunk),
                _shards if _pass.keep_shards or _name == "heldout" else temp(_shards),
            log:
                f"<logs>/activations/{_pass.slug}-{_chunk}.log",
            conda:
                ENVIRONMENT
            threads: 8
            resources:
                gpu=stages.activations.job_gpus(study, _pass),
                mem_mb=growing(stages.activations.memory(_pass)),
                runtime=lasting(stages.activations.minutes(study, _pass, _name)),
            params:
                # Not in the command itself: a job runs that after the loop, when `_pass` is the last pass.
                verb=stages.activations.verb(_pass),
                # Text of the study comes from a function: Snakemake takes a {word} elsewhere for a wildcard.
                settings=lambda wildcards, pass_=_pass: stages.activations.command(
                    pipeline, pass_, wildcards.get("chunk", "heldout")
                ),
            shell:
                "python -m sae_stability {params.verb} {params.settings} --threads {threads} &> {log:q}"
