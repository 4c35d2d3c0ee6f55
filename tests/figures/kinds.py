"""What the tests of every kind of figure must know of some."""

# Paulo & Belrose have no such numbers.
UNPUBLISHED = {
    "controls",
    "predictors",
    "functional",
    "subspace",
    "score-similarity",
    "score-partner",
    "substitution",
    "pooling",
    "consensus",
    "meta",
    "meta-depth",
}

# Cosines as they are: nothing is counted as shared.
WITHOUT_THRESHOLD = {"size-cosine", "k-cosine", "tokens-cosine"}

# They draw a chain of stitched SAEs: neither sharing nor pairs of a cohort.
STITCHED = {"insertion", "components", "interpolation", "nearest", "swaps"}
UNPUBLISHED |= STITCHED
# Whose published values are drawn.
OTHERS = dict.fromkeys((*STITCHED, "meta"), "Leask")

# It is text, without axes.
WITHOUT_AXES = {"pairs-table"}
