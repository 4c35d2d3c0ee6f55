"""What the tests of every kind of figure must know of some."""

# The paper has no such numbers.
UNPUBLISHED = {"controls", "predictors", "functional", "subspace", "substitution", "pooling"}
