"""The joint figure of a pair: matched decoder and encoder cosine of every latent."""

from pathlib import Path

import pandas as pd

from sae_stability.figures.drawings import joint as drawing
from sae_stability.figures.drawings import style as styles
from sae_stability.figures.tables import joint
from sae_stability.match.pair_overlap import Overlap
from sae_stability.match.pairs import match_columns


def draw(names: tuple[str, str], found: Overlap, floor: Overlap, alive: tuple, out: Path) -> None:
    """Draw a pair into `joint-A-B.svg` and `.png`.

    Args:
        names: of the two SAEs.
        found, floor: what the pair shares, and random dictionaries of the same shapes.
        alive: (n_latents,) bool of each of the two, which latents fire.
        out: folder for the pictures.
    """
    columns = match_columns({"encoder": found.encoder, "decoder": found.decoder}, *alive)
    # The rest are columns over the latents of B.
    of_a = [name for name in columns if "reverse" not in name and name != "alive_b"]
    match = pd.DataFrame({name: columns[name] for name in of_a})
    latents = joint.latent_rows(match, alive[1], names, found.threshold)
    means = {f"cosine_{side}": getattr(floor.all, f"mean_cosine_{side}") for side in ("decoder", "encoder")}
    mean = pd.DataFrame([{"row": "mean", "source": "floor", **means, "threshold": found.threshold}])
    style = styles.resolve({"published": False})
    with styles.in_use(style):
        picture = drawing.draw(pd.concat([latents, mean], ignore_index=True), style)
    for ending in ("svg", "png"):
        styles.save(picture, out / f"joint-{'-'.join(names)}.{ending}", style)
