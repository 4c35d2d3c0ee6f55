"""Token blocks -> shards of activations, every hookpoint of a pass in one forward pass; or a given matrix -> shards.

INPUTS   <results>/tokens/TOKENS/...
OUTPUTS  <results>/activations/PASS/HOOK/{heldout,chunk-0000,...}/manifest.json, shard-0000.safetensors ...
Steps: forward pass up to the last hookpoint; drop special tokens; shuffle over the chunk; write shards, then manifest.
"""

for _pass in study.passes.values():
    # Two rules a pass: the held-out rows have their own number of shards, and their shards always stay.
    for _name, _chunk in [("chunk", "{chunk}"), ("heldout", "heldout")]:

        rule:
            name:
                f"{'import' if _pass.matrix else 'extract'}_{_name}_{_pass.slug.replace('-', '_')}"
            input:
                chunk_source(_pass, _chunk),
            output:
                manifests(_pass, _chunk),
                shards(_pass, _chunk) if _pass.keep_shards or _name == "heldout" else temp(shards(_pass, _chunk)),
            log:
                f"<logs>/activations/{_pass.slug}-{_chunk}.log",
            conda:
                ENVIRONMENT
            threads: 8
            resources:
                gpu=0 if _pass.matrix else GPUS,
                mem_mb=extract_memory(_pass),
                runtime=720,
            params:
                code=code_hash("import-matrix" if _pass.matrix else "extract"),
                settings=(matrix_settings(_pass, _chunk) if _pass.matrix else extract_settings(_pass, _chunk)),
            shell:
                "python -m sae_stability {params.settings} --threads {threads} &> {log:q}"
