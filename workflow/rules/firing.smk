"""SAEs of a cohort -> what their latents fire on, contexts of them, and how far matched latents fire together.

INPUTS   <results>/saes/COHORT/seed-0/..., <results>/activations/PASS/HOOK/heldout/..., <results>/tokens/TOKENS/...,
         <results>/matches/COHORT/0-1.parquet
OUTPUTS  <results>/firing/COHORT/seed-0.parquet, <results>/contexts/COHORT/seed-0.parquet,
         <results>/pools/COHORT/seed-0.parquet, <results>/cofiring/COHORT/0-1.parquet;
         <results>/fresh-tokens/TOKENS/... where further text is read
Steps: pass the rows once through all SAEs; sort firings by latent; measure, choose contexts, compare matched latents.
"""

for _tokens in stages.fresh_tokens.token_sets(study):

    rule:
        name:
            f"fresh_tokens_{_tokens.slug.replace('-', '_')}"
        input:
            stages.corpus.outputs(pipeline, _tokens),
            stale=since("fresh_tokens", _tokens.slug),
        output:
            stages.fresh_tokens.outputs(pipeline, _tokens),
        log:
            f"<logs>/fresh-tokens/{_tokens.slug}.log",
        conda:
            ENVIRONMENT
        threads: 4
        resources:
            mem_mb=growing(stages.corpus.MEMORY),
            runtime=lasting(stages.corpus.minutes(_tokens)),
        params:
            tokens=subpath(input[0], parent=True),
            out=subpath(output[0], parent=True),
            settings=stages.fresh_tokens.command(pipeline, _tokens),
        shell:
            "python -m sae_stability fresh-tokens {params.settings} --tokens {params.tokens:q} --out {params.out:q} "
            "&> {log:q}"


for _cohort, _names in stages.firing.jobs(pipeline).items():

    # One rule a cohort: which files it makes depends on what is there.
    rule:
        name:
            f"firing_{_cohort.replace('-', '_')}"
        input:
            stages.firing.inputs(pipeline, _names),
            stale=since("firing", *_names),
        output:
            stages.firing.outputs(pipeline, _names),
        log:
            f"<logs>/firing/{_cohort}.log",
        conda:
            ENVIRONMENT
        threads: stages.firing.threads(pipeline, _names)
        resources:
            gpu=GPUS,
            mem_mb=growing(stages.firing.memory(pipeline, _names)),
            runtime=lasting(720),
        params:
            settings=stages.firing.command(pipeline, _names),
        shell:
            "python -m sae_stability firing {params.settings} --threads {threads} &> {log:q}"


rule all_firing:
    input:
        stages.firing.all_outputs(pipeline),
