"""Documents -> token blocks.

OUTPUTS  <results>/tokens/TOKENS/manifest.json, heldout.parquet, chunk-0000.parquet ...
Steps: read documents in a fixed order; tokenise; hold out the first documents; cut the rest into chunks.
"""

for _tokens in study.tokens.values():

    rule:
        name:
            f"tokenize_{_tokens.slug.replace('-', '_')}"
        input:
            # `made_from` holds checksums of these files, so that a changed text counts and a new date does not.
            ancient(stages.corpus.inputs(_tokens)),
        output:
            stages.corpus.outputs(pipeline, _tokens),
        log:
            f"<logs>/tokenize/{_tokens.slug}.log",
        conda:
            ENVIRONMENT
        threads: 4
        resources:
            mem_mb=stages.corpus.MEMORY,
            runtime=stages.corpus.minutes(_tokens),
        params:
            made_from=pipeline.fingerprints.tokens(_tokens),
            out=subpath(output[0], parent=True),
            # Text of the study comes from a function: Snakemake takes a {word} elsewhere for a wildcard.
            settings=lambda wildcards, tokens=_tokens: stages.corpus.command(tokens),
        shell:
            "python -m sae_stability tokenize {params.settings} --out {params.out:q} &> {log:q}"
