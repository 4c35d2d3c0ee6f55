"""Where results come from: the chain behind a result, and archives of a study."""
