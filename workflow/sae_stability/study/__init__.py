"""What a person declares: a study from its config, checked and complete."""
