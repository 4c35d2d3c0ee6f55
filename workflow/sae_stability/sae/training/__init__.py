"""Train SAEs: settings, steps, checkpoints, progress."""
