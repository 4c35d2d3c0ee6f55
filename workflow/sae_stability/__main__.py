"""`python -m sae_stability VERB ...`."""

import sys

from sae_stability.cli import main

sys.exit(main())
