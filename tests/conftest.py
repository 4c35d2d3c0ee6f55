"""What every test finds set."""

import os

# Triton reads this when it is first imported, and transformers and torch's optimisers import it where it is installed.
os.environ.setdefault("TRITON_INTERPRET", "1")
