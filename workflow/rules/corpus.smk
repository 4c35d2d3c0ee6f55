"""Documents -> token blocks.

OUTPUTS  <results>/tokens/TOKENS/manifest.json, heldout.parquet, chunk-0000.parquet ...
Steps: read documents in a fixed order; tokenise; hold out the first documents; cut the rest into chunks.
"""

for _slug in pipeline.unfinished["corpus"]:
    _tokens = study.tokens[_slug]

    rule:
        name:
            f"tokenize_{_tokens.slug.replace('-', '_')}"
        input:
            # Changed contents are seen by the fingerprint, and a mere touch is not taken for one.
            text=ancient(stages.corpus.inputs(_tokens)),
            stale=since("corpus", _slug),
        output:
            stages.corpus.outputs(pipeline, _tokens),
        log:
            f"<logs>/tokenize/{_tokens.slug}.log",
        conda:
            ENVIRONMENT
        threads: 4
        resources:
            mem_mb=growing(stages.corpus.MEMORY),
            runtime=lasting(stages.corpus.minutes(_tokens)),
        params:
            out=subpath(output[0], parent=True),
            # Text of the study comes from a function: Snakemake takes a {word} elsewhere for a wildcard.
            settings=lambda wildcards, tokens=_tokens: stages.corpus.command(pipeline, tokens),
        shell:
            "python -m sae_stability tokenize {params.settings} --out {params.out:q} &> {log:q}"
