"""Documents -> token blocks.

OUTPUTS  <results>/tokens/TOKENS/manifest.json, heldout.parquet, chunk-0000.parquet ...
Steps: read documents in a fixed order; tokenise; hold out the first documents; cut the rest into chunks.
"""

for _tokens in study.tokens.values():

    rule:
        name:
            f"tokenize_{_tokens.slug.replace('-', '_')}"
        input:
            # Changed contents are seen by `made_from`, and a mere touch is not taken for one.
            ancient(corpus_files(_tokens.corpus)),
        output:
            token_files(_tokens),
        log:
            f"<logs>/tokenize/{_tokens.slug}.log",
        conda:
            ENVIRONMENT
        threads: 4
        resources:
            mem_mb=8000,
            # Minutes, at 200,000 tokens a second.
            runtime=60 + _tokens.train_tokens // (60 * 200_000),
        params:
            made_from=tokens_key(_tokens),
            out=subpath(output[0], parent=True),
            settings=flags(
                corpus=json.dumps(_tokens.corpus.documents),
                corpus_seed=_tokens.corpus.seed,
                tokenizer=_tokens.model.name,
                revision=_tokens.model.revision,
                context_length=_tokens.context_length,
                packing=_tokens.packing,
                heldout_tokens=_tokens.heldout_tokens,
                train_tokens=_tokens.train_tokens,
                chunk_tokens=_tokens.chunk_tokens,
            ),
        shell:
            "python -m sae_stability tokenize {params.settings} --out {params.out:q} &> {log:q}"
