"""How good an SAE is, on held-out activations and inside its language model."""
