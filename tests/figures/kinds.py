"""What the tests of every kind of figure must know of some."""

# The paper has no such numbers.
UNPUBLISHED = {
    "controls",
    "predictors",
    "functional",
    "subspace",
    "score-similarity",
    "score-partner",
    "substitution",
    "pooling",
}

# Cosines as they are: nothing is counted as shared.
WITHOUT_THRESHOLD = {"size-cosine", "k-cosine", "tokens-cosine"}

# It is text, without axes.
WITHOUT_AXES = {"pairs-table"}
