"""The explorer: a site in which every latent can be looked at, opened from the disk."""
