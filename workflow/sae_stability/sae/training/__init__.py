"""Training SAEs: settings, steps, checkpoints, progress."""
