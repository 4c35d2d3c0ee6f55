"""Quality of an SAE: reconstruction of held-out activations, and loss of the language model with the SAE spliced in."""
