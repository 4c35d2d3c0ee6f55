"""What latents fire on: statistics, contexts, and how far matched latents fire together."""
