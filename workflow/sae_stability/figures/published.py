"""Published values. Unless another source is named, they are by Paulo & Belrose, arXiv 2501.16615 (2025).

"Sparse Autoencoders Trained on the Same Data Learn Different Features". The numbers are those of the authors' figure
files (SrGonao/sae_overlap, `figures/*.svg` and `sae_overlap.ipynb`), at threshold 0.7, for TopK SAEs of Pythia-160M
unless said otherwise: layer 6 MLP output, k = 32, 32,768 latents, 8 billion tokens of the Pile, all latents (the paper
gives no live-only values).

The paper's text defines "shared" as this project does, but its figures draw "aligned", which is our `joint`: both
matched cosines above 0.7, each in its own assignment, whether or not the counterparts are the same. Its
"encoder-decoder equal" is our `same_counterpart`. Figure 5 (middle, right) uses the decoder cosine alone: our
`decoder_only`.
"""

PAPER = "Paulo & Belrose 2025"
MODEL = f"{PAPER}, Pythia-160M"
THRESHOLD = 0.7
LATENTS = 32768
SEEDS = 9

# Figure 1, seeds 1 and 2: mean matched cosines and the two fractions.
JOINT = {"cosine_decoder": 0.6770, "cosine_encoder": 0.5941, "same_counterpart": 0.7929, "joint": 0.4159}

# Figure 2 (`sae_overlap_line.svg`): number of SAEs -> (mean, standard deviation) of the fraction found only in the
# base, over bases and combinations of 9 seeds. "Found" is joint.
ONLY_IN_BASE = {
    2: (0.5831, 0.0078),
    3: (0.4843, 0.0091),
    4: (0.4359, 0.0108),
    5: (0.4061, 0.0120),
    6: (0.3854, 0.0129),
    7: (0.3700, 0.0135),
    8: (0.3579, 0.0140),
    9: (0.3481, 0.0144),
}

# The donut of latents found in exactly m of 9 seeds, mean over bases, as printed (to 0.01 %; the sum is 100.03 %).
IN_EXACTLY = {1: 0.348, 2: 0.0782, 3: 0.0640, 4: 0.0600, 5: 0.0589, 6: 0.0632, 7: 0.0685, 8: 0.0865, 9: 0.173}

# Figure 4: value -> (joint, same_counterpart). The row (32,768 latents, k = 32, 8B tokens) belongs to all three.
SIZE = {
    # 32 latents with k = 32: no sparsity, so any rotation reconstructs as well.
    32: (0.8125, 1.0),
    768: (0.7852, 0.9492),
    # Plotted as 4,096 in the paper; the files hold 4,084 latents.
    4084: (0.6956, 0.9163),
    27648: (0.4346, 0.8049),
    32768: (0.4159, 0.7929),
    131072: (0.2758, 0.7019),
}
K = {32: (0.4159, 0.7929), 64: (0.3051, 0.7056), 128: (0.2337, 0.6172), 256: (0.1770, 0.6239)}
TOKENS = {0.8e9: (0.0726, 0.4587), 8e9: (0.4159, 0.7929), 80e9: (0.6121, 0.8748)}

# The same SAEs in the appendix: value -> mean cosine of matched decoder rows, and of matched encoder rows.
SIZE_COSINE = {
    32: (0.8237, 0.8355),
    768: (0.8365, 0.8041),
    4084: (0.8050, 0.7442),
    27648: (0.6876, 0.6060),
    32768: (0.6770, 0.5941),
    131072: (0.6031, 0.5217),
}
K_COSINE = {32: (0.6770, 0.5941), 64: (0.5689, 0.5089), 128: (0.4825, 0.4463), 256: (0.4562, 0.4271)}
TOKENS_COSINE = {0.8e9: (0.3912, 0.3156), 8e9: (0.6770, 0.5941), 80e9: (0.7849, 0.7042)}

# Figure 5 left: number of latents -> joint fraction by layer 0..11, MLP outputs.
LAYER = {
    768: (0.0299, 0.5625, 0.6562, 0.7083, 0.8190, 0.7760, 0.7852, 0.8190, 0.8307, 0.8763, 0.8464, 0.7604),
    4084: (0.0012, 0.5061, 0.4447, 0.5957, 0.7189, 0.7052, 0.6956, 0.6699, 0.7265, 0.7556, 0.6927, 0.5340),
    32768: (0.0001, 0.1415, 0.1546, 0.2385, 0.4450, 0.4157, 0.4158, 0.3847, 0.4223, 0.4613, 0.4077, 0.2491),
}

# Figure 5 middle, expansion 36: (model and layer, position, number of latents) -> decoder_only fraction.
POSITION = {
    ("Pythia-160M L6", "residual", 27648): 0.6315,
    ("Pythia-160M L6", "MLP", 27648): 0.5480,
    ("GPT-2 L6", "residual", 27648): 0.6217,
    ("GPT-2 L6", "MLP", 27648): 0.7422,
    ("SmolLM L15", "residual", 20736): 0.5574,
    ("SmolLM L15", "MLP", 20736): 0.7155,
    ("Llama 3 8B L16", "MLP", 147456): 0.3378,
}

# Figure 5 right: GPT-2 layer 6 MLP, 27,648 latents, architecture -> decoder_only fraction. The paper publishes no FVU,
# and an L0 for TopK alone (k = 32). The values of Gated and L1 are decoder cosines at the encoder's matching, a lower
# bound; their hookpoint is inferred. An L1 SAE with a smaller coefficient is left out, as in the paper.
ARCHITECTURE = {"gated": 0.8562, "relu": 0.8241, "topk": 0.7422}
GPT2_LATENTS = 27648

# Appendix (`aligned_features.svg`), seeds 1 and 2: threshold -> (joint, shared, max).
THRESHOLDS = {
    0.29: (0.806, 0.744, 0.893),
    0.49: (0.622, 0.609, 0.666),
    0.59: (0.531, 0.526, 0.551),
    0.61: (0.510, 0.506, 0.527),
    0.67: (0.445, 0.444, 0.453),
    0.694: (0.4221, 0.4211, 0.4276),
    0.714: (0.3996, 0.3990, 0.4033),
    0.80: (0.292, 0.292, 0.292),
    0.90: (0.116, 0.116, 0.116),
}

# Figure 3, read off the plot: other SAEs that share a latent -> where those latents gather, as (lowest, highest) mean
# cosine and number of firings. They are of FIRING_ROWS tokens, in which a latent fires FIRING_MEAN times on average.
FIRING_CLUSTERS = {0: ((0.25, 0.35), (10_000, 30_000)), 8: ((0.85, 0.97), (1_000, 4_000))}
FIRING_ROWS = 9_994_240
FIRING_MEAN = 9760

# Section 4 (`sae_scores_hist.svg`), base seed 1: in how many of 9 SAEs a latent is found -> mean score of its
# explanation (balanced accuracy, detection and fuzzing, Llama 3.1 70B Instruct); and where known (standard deviation,
# latents).
SCORE_BY_SHARERS = {1: 0.648, 2: 0.723, 3: 0.732, 4: 0.730, 5: 0.732, 6: 0.732, 7: 0.734, 8: 0.736, 9: 0.735}
SCORE_SPREAD = {1: (0.119, 10886), 9: (0.111, 5359)}

# Table 1, seeds 1 and 2: (latent, counterpart, mean of decoder and encoder cosine, score, counterpart's score). The
# pairs were chosen for the largest difference of scores in the low bins and for the largest sum in the high ones.
PAIRS = (
    (12314, 6026, 0.195, 0.785, 0.45),
    (21463, 3361, 0.265, 0.91, 0.455),
    (5888, 6649, 0.439, 0.85, 0.49),
    (14931, 5456, 0.754, 0.945, 0.97),
    (1817, 66, 0.969, 0.938, 0.985),
)

# Similarity of explanations of seeds 1 and 2 (`stella_en_1.5B_v5`): pairing -> (mean, latents). Unmatched ones have the
# same index; the best is over all explanations of the other SAE.
EXPLANATION_SIMILARITY = {"matched": (0.770, 28823), "unmatched": (0.558, 28681), "best": (0.898, 30119)}

CANONICAL = "Leask et al. 2025, GPT-2"
"""Leask et al., "Sparse Autoencoders Do Not Find Canonical Units of Analysis", arXiv 2502.04878 (2025): ReLU SAEs with
L1 of GPT-2 Small, residual stream before layer 8, threshold 0.7."""
GEMMA = "Leask et al. 2025, Gemma 2 2B"
"""The same paper's SAEs of Gemma Scope, of 16,384 and 32,768 latents: JumpReLU, residual stream after layer 12,
threshold 0.4."""
GEMMA_WIDTHS = (16_384, 32_768)

# Figure 13: latents of the larger SAE -> area under the ROC curve, against the SAE of half its size.
INSERTION_AUC = {1536: 0.93, 3072: 0.90, 6144: 0.88, 12288: 0.86, 24576: 0.84, 49152: 0.82, 98304: 0.84}
GEMMA_AUC = 0.80

# Figure 12, components of 768 and 1,536 latents: (latents of the small SAE, of the large one, components). The figure
# prints 676 novel latents, the text 657; only 657 adds up to 1,536. The 19 latents of the small SAE without an edge
# follow from the counts.
CENSUS = (
    *((0, 1, 657), (1, 0, 19), (1, 1, 605), (1, 2, 102), (1, 3, 7), (2, 1, 1), (2, 2, 1), (2, 3, 3), (2, 4, 2)),
    *((2, 5, 1), (3, 3, 1), (3, 5, 1), (4, 5, 1), (4, 6, 1), (5, 5, 1)),
)

# Figure 7, latents of the SAE of 1,536: the highest cosine with a latent of the SAE of 768.
HIGHEST_COSINE = {"mean": 0.725, "median": 0.764, "deviation": 0.211}
# Figure 8, the same latents: R^2 of a straight line from decoder cosine (above 0.5) to the similarity of activations.
ACTIVATION_R2 = 0.87

# Figure 16, fraction of latents with a cosine above 0.7 to a latent of the other SAE. Pairs of seeds of 3,072 latents:
SEEDS_WITH_COSINE = (0.937, 0.940, 0.944, 0.941, 0.940, 0.944, 0.938, 0.938, 0.943, 0.942)
# and latents of the larger SAE -> the fraction for smaller ones, from 768 latents on.
WITH_COSINE = {
    1536: (0.572,),
    3072: (0.351, 0.592),
    6144: (0.227, 0.390, 0.630),
    12288: (0.160, 0.272, 0.437, 0.664),
    24576: (0.111, 0.188, 0.310, 0.469, 0.678),
    49152: (0.072, 0.126, 0.215, 0.338, 0.492, 0.679),
}

# Figure 17: mean squared error of the smallest and the largest SAE with the decoder bias of each SAE, from 768 latents
# on.
ERROR_BY_BIAS = {
    768: (2.680, 2.684, 2.692, 2.700, 2.710, 2.724, 2.736, 2.791),
    98304: (1.250, 1.240, 1.235, 1.234, 1.237, 1.244, 1.196, 1.138),
}

# Figure 14, read off the plot: latents of the larger SAE -> median change of error and of L0 by a swap, as parts.
SWAPS = {1536: (35e-5, -50e-5), 3072: (19e-5, -23e-5), 6144: (10e-5, -10e-5), 12288: (5e-5, -4e-5)}

# Figure 15, read off the plot: latents of the larger SAE -> change of the smaller SAE's error, as a part, at the end of
# adding all novel latents, and at its lowest on the way.
NOVEL_ADDED = {
    1536: (-0.08, -0.08),
    3072: (-0.05, -0.06),
    6144: (-0.02, -0.04),
    12288: (-0.01, -0.035),
    24576: (0.0, -0.025),
    49152: (0.0, -0.025),
    98304: (-0.02, -0.03),
}
GEMMA_NOVEL_ADDED = -0.01  # at the end
# and of adding all reconstruction latents; larger SAEs leave the plot.
RECONSTRUCTION_ADDED = {1536: 0.50, 3072: 0.72}

# Table 2: latents -> mean squared error, L0. The SAEs of figure 5.
CHAIN = {768: (2.72, 35.2), 1536: (2.22, 39.5), 3072: (1.89, 42.4), 6144: (1.63, 43.8), 12288: (1.46, 43.9)}

# Figure 5, read off the plot: latents of the larger SAE -> L0 when all novel latents are there, its highest. How many
# latents there are then follows from figure 16.
HIGHEST_L0 = {1536: 47.5, 3072: 50.5, 6144: 52.8, 12288: 52.7}

# Figure 19, read off the plot: latents, mean squared error. All novel latents are there at 20,300; then one component,
# most of both SAEs, is swapped.
GEMMA_PATH = (("start", 16_384, 1.748), ("novel", 20_300, 1.730), ("swap", 31_000, 1.67), ("swap", 32_768, 1.617))

# Figure 20, and the text for the meta-SAE: 2,304 meta-latents (k = 4) of 49,152 latents. Dictionary, encoder, variance
# explained; all but the first are 1 - 768 mse, without the mean subtracted.
META_EXPLAINED = (
    ("meta-SAE", "trained", 0.5547),
    ("smaller SAEs", "kept", 0.420),
    ("smaller SAEs", "retrained", 0.509),
    ("random directions", "kept", -0.467),
)
META_LATENTS, META_K = 2304, 4.0

# Figure 6, read off the plot: the largest cosine at which most directions of a dictionary lie.
META_COSINES = {"meta-latents to latents": 0.55, "latents to meta-latents": 0.5}

# The authors' post ("Showing SAE Latents Are Not Atomic Using Meta-SAEs", 2024): of the pairs of latents of the SAE of
# 49,152 with a meta-latent in common, the part that is near one latent of the SAE of 3,072.
META_GRAPH = 0.2892

# Section 5.1: latents whose explanation GPT-4o-mini chose rightly among five, of how many.
META_CHOICE = (730, 1000)
