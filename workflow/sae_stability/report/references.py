"""What a paper cites. A reference is listed where something that it is about is in the study."""

from sae_stability.report.blocks import Block, points
from sae_stability.report.evidence import Evidence

_ALWAYS = (
    "G. Paulo and N. Belrose. Sparse Autoencoders Trained on the Same Data Learn Different Features. arXiv 2501.16615, "
    "2025. The question, the two assignments and *shared*.",
    "H. W. Kuhn. The Hungarian method for the assignment problem. Naval Research Logistics Quarterly 2, 1955; "
    "R. Jonker and A. Volgenant. A shortest augmenting path algorithm. Computing 38, 1987. Exact assignments.",
)
_SPREAD = (
    "B. Efron and R. J. Tibshirani. An Introduction to the Bootstrap. Chapman and Hall, 1993. Intervals over seeds."
)
# Architecture of a cohort -> its source.
_ARCHITECTURES = {
    "topk": "L. Gao et al. Scaling and evaluating sparse autoencoders. arXiv 2406.04093, 2024. TopK SAEs.",
    "batchtopk": "B. Bussmann, P. Leask and N. Nanda. BatchTopK Sparse Autoencoders. arXiv 2412.06410, 2024.",
    "matryoshka": "B. Bussmann et al. Learning Multi-Level Features with Matryoshka Sparse Autoencoders. "
    "arXiv 2503.17547, 2025.",
    "relu": "T. Bricken et al. Towards Monosemanticity. Transformer Circuits, 2023. ReLU SAEs.",
    "gated": "S. Rajamanoharan et al. Improving Dictionary Learning with Gated Sparse Autoencoders. "
    "arXiv 2404.16014, 2024.",
    "jumprelu": "S. Rajamanoharan et al. Jumping Ahead: Improving Reconstruction Fidelity with JumpReLU Sparse "
    "Autoencoders. arXiv 2407.14435, 2024.",
}
# Section -> what it rests on.
_SECTIONS = {
    "controls": "Sanity checks for sparse autoencoders. arXiv 2602.14111, 2026. Frozen decoders and encoders.",
    "interpretability": "G. Paulo et al. Automatically Interpreting Millions of Features in Large Language Models. "
    "arXiv 2410.13928, 2024. Explanations and their scores.",
    "stitching": "P. Leask et al. Sparse Autoencoders Do Not Find Canonical Units of Analysis. arXiv 2502.04878, 2025. "
    "Stitching and meta-SAEs.",
}
# Meta-SAEs come from the same work as stitching.
_SAME_SOURCE = {"meta": "stitching"}


def references(found: Evidence, sections: list[str]) -> list[Block]:
    """The references of a paper with these sections."""
    architectures = [text for name, text in _ARCHITECTURES.items() if name in found.facts["architectures"]]
    wanted = {_SAME_SOURCE.get(name, name) for name in sections}
    cited = [text for name, text in _SECTIONS.items() if name in wanted]
    spread = [_SPREAD] if found.numbers.n_seeds > 2 else []
    return points([*_ALWAYS, *architectures, *cited, *spread], numbered=True)
