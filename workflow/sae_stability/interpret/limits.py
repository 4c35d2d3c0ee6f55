"""What judges can do. Needs nothing, because a study is checked with it."""

ANSWERS = {
    "lexical": ("explain", "detection", "fuzzing"),
    "embedding": ("detection", "intruder"),
    "local": ("explain", "detection", "fuzzing", "intruder"),
    "endpoint": ("explain", "detection", "fuzzing", "intruder"),
}
"""Kind of judge -> what it can do: explain, and each kind of scorer."""

WITHOUT_EXPLANATION = "none"
"""Stands in the place of the explainer where a scorer, `intruder`, needs no explanation."""

INTRUDER_TEXTS = 5
"""Texts of one intruder question: the latent fires in all but one."""
