"""Explain in words what latents fire on, and score how well the words predict it."""
