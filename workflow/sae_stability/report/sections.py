"""The paper's sections of results: which kinds of figures stand in which, and what is said before them.

A study without figures of a section has a paper without that section.
"""

from sae_stability.figures import control_words, summary
from sae_stability.report.blocks import Block, Section, paragraph, table
from sae_stability.report.evidence import Drawn, Evidence
from sae_stability.report.markup import list_table

_TITLES = {
    "overlap": "Results: what two seeds share",
    "sweeps": "Results: what sharing depends on",
    "controls": "Results: controls",
    "firing": "Results: what latents do",
    "interpretability": "Interpretability",
    "stitching": "Stitching SAEs of different sizes",
    "meta": "Meta-SAEs",
    "consensus": "Consensus of seeds",
    "further": "Further results",
}
"""Every section of results, in order. Its name is its anchor."""

_SECTION_OF = {
    **dict.fromkeys(("joint", "seeds", "sharing", "thresholds", "subspace", "randomness"), "overlap"),
    **dict.fromkeys(("size", "k", "tokens", "layer", "position", "architecture"), "sweeps"),
    **dict.fromkeys(("size-cosine", "k-cosine", "tokens-cosine"), "sweeps"),
    "controls": "controls",
    **dict.fromkeys(("predictors", "functional", "firing-similarity", "substitution", "pooling"), "firing"),
    **dict.fromkeys(
        ("score-similarity", "score-sharers", "score-partner", "pairs-table", "explanation-similarity"),
        "interpretability",
    ),
}

# How the names of other kinds begin -> their section. What begins otherwise is a further result.
_BEGINNINGS = {
    **dict.fromkeys(("insertion", "components", "interpolation", "stitch", "seed-stitch"), "stitching"),
    "meta": "meta",
    "consensus": "consensus",
    **dict.fromkeys(("score", "explanation"), "interpretability"),
}

_INTRODUCTIONS = {
    "sweeps": (
        "Each figure changes one setting and keeps all others. A place of a sweep is a cohort of its own, with a "
        "random floor of its own shape. SAEs at two places may differ in quality too: see the table above."
    ),
    "firing": (
        "Rows of weights are one view of a latent; what it does to held-out activations is another. Each value stands "
        "beside the same one for counterparts in random order, for random latents or for shuffled outcomes."
    ),
    "interpretability": (
        "A judge explains a sample of latents from one part of their contexts and is scored on another part, which it "
        "has never seen. Every score stands beside chance: the score of another latent's explanation. A high score "
        "does not say that a latent belongs to the model, since SAEs with frozen decoders reach high scores too."
    ),
    "stitching": (
        "A latent of a larger SAE is *novel* if its largest decoder cosine with the smaller one is below the "
        "threshold, else it is a *reconstruction* latent. Adding a novel one should lower the error of the smaller "
        "SAE; adding a reconstruction latent should not, unless it is exchanged for those that it resembles."
    ),
    "meta": (
        "A meta-SAE is an SAE trained on the decoder rows of another. If latents were atoms, it would find nothing "
        "smaller in them; so its variance explained is read beside random directions and other baselines."
    ),
    "consensus": (
        "Latents of several seeds that are matched to each other form a group. The consensus SAE of level m is made of "
        "the groups found in at least m seeds, and is read beside as many latents of one seed."
    ),
}


def section_of(kind: str) -> str:
    """The section in which figures of a kind stand."""
    if kind in _SECTION_OF:
        return _SECTION_OF[kind]
    return next((name for start, name in _BEGINNINGS.items() if kind.startswith(start)), "further")


def results(found: Evidence) -> list[Section]:
    """The sections of results that this study has, in order."""
    sections = []
    for name, title in _TITLES.items():
        figures = [figure for figure in found.figures if section_of(figure.kind) == name]
        first = _overlap(found) if name == "overlap" else []
        if name == "controls":
            first = [block for figure in figures for block in _controls(figure)]
        if figures or first:
            said = paragraph(_INTRODUCTIONS.get(name, ""))
            sections.append(Section(name, title, [*said, *first, *(figure.picture for figure in figures)]))
    return sections


def _controls(figure: Drawn) -> list[Block]:
    """What the controls leave of each claim, and the numbers behind it."""
    return [
        *paragraph(control_words.what_is_left(figure.table)),
        *table(
            "The base beside its controls; in bold, what does as well as the base",
            *control_words.beside_controls(figure.table),
        ),
    ]


def _overlap(found: Evidence) -> list[Block]:
    """The key numbers beside both floors, how to read them, and the quality of every cohort."""
    numbers = found.numbers
    return [
        *_table_of("Parts of the base cohort's latents, mean over pairs", summary.overlap_table(numbers)),
        *paragraph(summary.how_to_read(numbers)),
        *(block for text in summary.quality_of_cohorts(numbers) for block in _text_or_table(text)),
    ]


def _text_or_table(text: str) -> list[Block]:
    return _table_of("Quality of every cohort", text) if list_table(text) else paragraph(text)


def _table_of(title: str, text: str) -> list[Block]:
    heading, *rows = list_table(text)
    return table(title, [cell or "what" for cell in heading], rows)
