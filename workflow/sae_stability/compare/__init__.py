"""SAEs compared in one command: what each pair shares, on the terminal, as JSON and as a picture."""
