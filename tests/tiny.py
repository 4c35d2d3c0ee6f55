"""Tiny language models with random weights, made by the tests, so that no test needs a network or a weight file.

Each `tiny_...` function writes a folder that `AutoModel.from_pretrained` and `AutoTokenizer.from_pretrained` load like
any downloaded model: 2 layers, 32 wide, with a tokenizer trained on made-up sentences.
"""

import json
import random
from pathlib import Path

WIDTH = 32
LAYERS = 2
CONTEXT = 64  # the largest context length that the models accept

# One hookpoint of each kind: a module's output, a module's input, the residual stream, attention heads.
HOOKPOINTS = {
    "bert": ["encoder.layer.0.output.dense", "encoder.layer.0", "encoder.layer.1.attention.output.dense:in"],
    "gpt_neox": ["layers.0.mlp", "layers.1:in", "layers.1.attention.dense:in"],
    "gpt2": ["h.0.mlp", "h.1:in", "h.1.attn.c_proj:in"],
}

_NOUNS = [
    "river",
    "stone",
    "lamp",
    "cloud",
    "garden",
    "engine",
    "letter",
    "window",
    "bridge",
    "forest",
    "number",
    "matrix",
]
_VERBS = ["holds", "breaks", "follows", "turns", "lifts", "counts", "carries", "opens", "reads", "keeps"]
_PLACES = ["under the hill", "near the old mill", "at dawn", "in a quiet room", "behind the tower", "over the water"]


def sentences(documents: int, *, seed: int = 0, length: int = 8) -> list[str]:
    """`documents` made-up texts of about `length` sentences (6 to 9 words each), no two alike."""
    rng = random.Random(seed)
    return [
        f"Story {number}. "
        + " ".join(
            f"The {rng.choice(_NOUNS)} {rng.choice(_VERBS)} a {rng.choice(_NOUNS)} {rng.choice(_PLACES)}."
            for _ in range(rng.randint(max(1, length // 2), length))
        )
        for number in range(documents)
    ]


def tiny_corpus(folder: Path, documents: int = 200, *, seed: int = 0) -> Path:
    """Write `sentences` as `corpus.jsonl` (one `{"text": ...}` a line) into `folder`; return the file."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "corpus.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in sentences(documents, seed=seed)))
    return path


def tiny_gpt_neox(folder: Path, *, seed: int = 0, head: bool = True) -> Path:
    """A 2-layer GPT-NeoX, a language model with `head`; its tokenizer adds nothing, `<|endoftext|>` is BOS and EOS."""
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, GPTNeoXModel

    tokenizer = _byte_level_tokenizer(["<|endoftext|>"])
    config = GPTNeoXConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=CONTEXT,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.2,
    )
    return _save(GPTNeoXForCausalLM if head else GPTNeoXModel, config, tokenizer, folder, seed)


def tiny_gpt2(folder: Path, *, seed: int = 0) -> Path:
    """A 2-layer GPT-2 language model; its tokenizer adds nothing, `<|endoftext|>` is BOS and EOS."""
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = _byte_level_tokenizer(["<|endoftext|>"])
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=4,
        n_positions=CONTEXT,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.2,
    )
    return _save(GPT2LMHeadModel, config, tokenizer, folder, seed)


def tiny_llama(folder: Path, *, seed: int = 0) -> Path:
    """A 2-layer Llama language model; its tokenizer puts `<s>` first."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = _byte_level_tokenizer(["<s>", "</s>"])
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=CONTEXT,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.2,
    )
    return _save(LlamaForCausalLM, config, tokenizer, folder, seed)


def tiny_bert(folder: Path, *, seed: int = 0) -> Path:
    """A 2-layer BERT (masked-language model); its tokenizer puts `[CLS]` first and `[SEP]` last."""
    from transformers import BertConfig, BertForMaskedLM

    tokenizer = _word_piece_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=CONTEXT,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.2,
    )
    return _save(BertForMaskedLM, config, tokenizer, folder, seed)


def _save(architecture: type, config: object, tokenizer: object, folder: Path, seed: int) -> Path:
    import torch

    folder = Path(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        architecture(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _byte_level_tokenizer(special: list[str]):
    """A byte-level BPE tokenizer; the first special token is BOS (added when there are two), the last is EOS."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences(50), trainer)
    if len(special) == 2:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{special[0]} $A", special_tokens=[(special[0], tokenizer.token_to_id(special[0]))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=special[0], eos_token=special[-1], model_max_length=CONTEXT
    )


def _word_piece_tokenizer():
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(sentences(50), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=CONTEXT,
    )
