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
    "meta",
}

# It is text, without axes.
WITHOUT_AXES = {"pairs-table"}
