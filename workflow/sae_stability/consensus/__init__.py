"""Groups of latents that several seeds found, and the SAE that is built from them."""
