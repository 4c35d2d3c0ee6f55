"""The paper's question, its data and models, and its method with the definitions as formulas."""

from sae_stability.figures import phrases
from sae_stability.report import formulas
from sae_stability.report.blocks import Block, Equation, paragraph, points, table
from sae_stability.report.evidence import Evidence

QUESTION = (
    "A sparse autoencoder (SAE) writes the activations of a model as sums of few latents out of many. If such latents "
    "are features of the model, two SAEs that differ in their random seed alone should find the same ones. Which "
    "latents are the model's, and which the seed's?"
)


_SEEDS = "seeds"


def data(found: Evidence) -> list[Block]:
    """What was read, and which cohorts were compared."""
    facts = found.facts
    told = {cohort: facts["alike"] | settings for cohort, settings in facts["cohorts"].items()}
    base = told.pop(found.base)
    settings = [(phrases.escape(name), phrases.escape(value)) for name, value in base.items()]
    others = [
        tuple(map(phrases.escape, (cohort, settings.get(_SEEDS, ""), _unlike(settings, base))))
        for cohort, settings in told.items()
    ]
    return [
        *paragraph(phrases.escape(facts["about"]) if facts["about"] else ""),
        *table(f"The base cohort, {phrases.escape(found.base)}", ("setting", "value"), settings),
        *table("The other cohorts", ("cohort", _SEEDS, "where it differs from the base"), others),
    ]


def _unlike(settings: dict[str, str], base: dict[str, str]) -> str:
    """The settings of a cohort that are not the base's, without its seeds."""
    found = [f"{name}: {value}" for name, value in settings.items() if value != base.get(name)]
    found += [f"no {name}" for name in base if name not in settings]
    return "; ".join(text for text in found if _SEEDS not in text.partition(":")[0]) or "in its seeds alone"


def method(found: Evidence, sections: list[str]) -> list[Block]:
    """The definitions that the results of these sections rest on."""
    facts, threshold = found.facts, found.numbers.threshold
    return [
        *paragraph(
            "**The SAE.** With encoder rows E, decoder rows D, biases b and c, and a function f of the architecture, "
            "an SAE reads a row x, computes latents z and reconstructs x from them:"
        ),
        Equation(formulas.SAE),
        *paragraph("Its quality is the part of the variance of held-out rows that it leaves unexplained:"),
        Equation(formulas.FVU),
        *paragraph(
            "**Seeds.** "
            + (
                "The seed of the weights and the seed of the data's order are two numbers. SAEs of one "
                "cohort read the same rows in the same order unless the order is what varies."
                if facts["trained"]
                else "The SAEs were made elsewhere; a number stands for each one's seed."
            )
        ),
        *paragraph(
            "**Matching.** Encoders and decoders of two SAEs are matched separately. Each assignment is the one-to-one "
            "matching with the largest sum of signed cosines. It is exact: a bound from the dual problem proves that "
            "no matching has a larger sum."
        ),
        Equation(formulas.ASSIGNMENT),
        *paragraph(f"**Shared.** Latent i of the one SAE is shared with the other if, with t = {threshold:g},"),
        Equation(formulas.SHARED),
        *paragraph(
            "Beside it stand *joint* (both cosines reach t, but the counterparts may differ), *same counterpart* (at "
            "any cosine), *max* (nearest neighbours, many to one) and *decoder only*."
        ),
        *paragraph(
            f"**Floors.** Chance alone matches something. Each value stands beside the same one for random "
            f"dictionaries of the same shape ({phrases.count(facts['floor_repeats'], 'repetition')}), and for those "
            "with each encoder equal to its decoder. If a pair shares a part p by chance, the part of a base that none "
            "of m - 1 others shares is"
        ),
        Equation(formulas.ONLY_IN_BASE),
        *paragraph(
            "**Live latents** fired at least once on the held-out rows. Each value is given for all latents and for "
            "live ones alone. **Intervals** are 95 % bootstrap intervals over seeds, because pairs have SAEs in common."
        ),
        *(_controls() if "controls" in sections else []),
        *(_interpretability(found) if "interpretability" in sections else []),
    ]


def _controls() -> list[Block]:
    return paragraph(
        "**Controls** lack what a claim is about: SAEs with a frozen, soft-frozen or untrained part, a model with "
        "random weights, text in random order. A number that a control reaches too does not speak for what the control "
        "lacks."
    )


def _interpretability(found: Evidence) -> list[Block]:
    facts = found.facts
    judges = [f"{name}: {phrases.escape(', '.join(facts[name]))}" for name in ("explainers", "scorers") if facts[name]]
    return [
        *paragraph(
            "**Explanations and scores.** A judge sees contexts in which a latent fires and says what they have in "
            "common. The explanation is scored on contexts of other text: where does the latent fire?"
        ),
        Equation(formulas.BALANCED_ACCURACY),
        *paragraph("Chance is 1/2. The judges of this study:"),
        *points(judges),
    ]
