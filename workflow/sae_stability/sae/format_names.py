"""The names of the checkpoint formats. Apart from `formats`, because a study's file is checked without numpy."""

# Name -> module. In the order in which formats are tried. No two formats detect the same files.
FORMATS = {
    "own": "sae_stability.sae.formats.own",
    "sparsify": "sae_stability.sae.formats.sparsify",
    "saelens": "sae_stability.sae.formats.saelens",
    "dictionary_learning": "sae_stability.sae.formats.dictionary_learning",
    "gemma_scope": "sae_stability.sae.formats.gemma_scope",
    "gemma_scope_2": "sae_stability.sae.formats.gemma_scope_2",
    "llama_scope": "sae_stability.sae.formats.llama_scope",
    "llamascopium": "sae_stability.sae.formats.llamascopium",
    "qwen_scope": "sae_stability.sae.formats.qwen_scope",
    "goodfire": "sae_stability.sae.formats.goodfire",
    "batchtopk": "sae_stability.sae.formats.batchtopk",
    "openai": "sae_stability.sae.formats.openai",
}
WRITTEN = ("own", "sparsify", "saelens", "dictionary_learning")
