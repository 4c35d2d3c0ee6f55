"""What is made from what, as plain Python: paths, fingerprints, commands and resources of every stage."""
