"""A judge that is a causal language model on this machine."""

import hashlib
import inspect
import json
from collections.abc import Sequence

import torch
from tqdm import tqdm

from sae_stability.errors import StudyError
from sae_stability.interpret import prompts, replies
from sae_stability.interpret.judges import Question
from sae_stability.interpret.outcomes import OK, TRUNCATED, Reply
from sae_stability.interpret.samples import Shown
from sae_stability.models.loading import load_model
from sae_stability.models.source import ModelSource
from sae_stability.models.tokenizer import load_tokenizer

_BATCH_TOKENS = 1024  # where a model gives all logits of a batch, they take this many times the vocabulary
_ANSWERS = (" Yes", " No", "Yes", "No")


class Local:
    """Explains by greedy generation; answers by the probability of the next word, which always can be read.

    Args:
        model: hub name, folder or package:NAME/FOLDER of a causal language model.
        revision: branch, tag or commit of a hub model.
        sha256: SHA-256 that its weights must have; None: not checked.
        dtype: precision that it computes in.
        max_tokens: longest explanation, in tokens.
        device: where it computes.
        threads: processor cores to use.

    Raises:
        StudyError: the model cannot be loaded, has no language-model head, or predicts no next word.
    """

    threshold = None

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        sha256: str | None = None,
        dtype: str = "float32",
        max_tokens: int = 60,
        device: str = "cpu",
        threads: int = 1,
    ) -> None:
        torch.set_num_threads(threads)
        source = ModelSource(model, revision, sha256, dtype)
        self._tokenizer, self._model = load_tokenizer(source), load_model(source, device, lm_head=True)
        if not self._model.can_generate():
            raise StudyError(f"model '{model}' predicts masked words, not the next one; name a causal language model")
        self._device, self._max_tokens = device, max_tokens
        self._positions = getattr(self._model.config, "max_position_embeddings", None) or 2048
        self._pad = next(
            (token for token in (self._tokenizer.pad_token_id, self._tokenizer.eos_token_id) if token is not None), 0
        )
        first = [self._tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in _ANSWERS]
        self._yes, self._no = sorted({first[0], first[2]}), sorted({first[1], first[3]})
        self._gives_some_logits = "logits_to_keep" in inspect.signature(self._model.forward).parameters

    def explain(self, latents: Sequence[Shown]) -> list[tuple[Reply, str]]:
        """See `Judge`. The first line that the model writes is the explanation."""
        return [self._explain(latent) for latent in latents]

    def detect(self, questions: Sequence[Question]) -> list[list[Reply]]:
        """See `Judge`. The score is the probability of Yes among Yes and No."""
        return self._answers(questions, marked=False)

    def fuzz(self, questions: Sequence[Question]) -> list[list[Reply]]:
        """See `Judge`."""
        return self._answers(questions, marked=True)

    def intruder(self, texts: Sequence[tuple[str, ...]]) -> list[Reply]:
        """See `Judge`. The number with the highest probability after "[" is the answer."""
        asked = [self._ids(prompts.intruder(some), " [") for some in texts]
        most = max(map(len, texts), default=0)
        numbers = [self._tokenizer(str(n), add_special_tokens=False)["input_ids"][-1] for n in range(1, most + 1)]
        rows = self._next_word(asked, numbers)
        return [Reply(OK, int(torch.argmax(row[: len(some)]))) for row, some in zip(rows, texts, strict=True)]

    def _explain(self, latent: Shown) -> tuple[Reply, str]:
        shown, room = latent, self._positions - self._max_tokens
        ids = self._ids(prompts.explain(shown), " EXPLANATION:")
        # A small model has few positions: fewer windows are shown, as many of each kind.
        while len(ids) > room and len(shown.positives) > 1:
            shown = Shown(shown.positives[: len(shown.positives) // 2], shown.negatives[: len(shown.negatives) // 2])
            ids = self._ids(prompts.explain(shown), " EXPLANATION:")
        asked = hashlib.sha256(json.dumps(ids).encode()).hexdigest()
        text, ended = self._generated(ids[-room:])
        line, found, _ = text.strip().partition("\n")
        if not (found or ended):
            return Reply(TRUNCATED), asked
        cleaned = replies.clean(line)
        return (Reply(OK, cleaned) if cleaned else replies.without_form(line)), asked

    @torch.inference_mode()
    def _generated(self, ids: list[int]) -> tuple[str, bool]:
        """What the model writes, and whether it came to an end by itself."""
        out = self._model.generate(
            torch.tensor([ids], device=self._device),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long, device=self._device),
            max_new_tokens=self._max_tokens,
            do_sample=False,
            use_cache=True,
            pad_token_id=self._pad,
            stop_strings=["\n"],
            tokenizer=self._tokenizer,
        )
        new = out[0, len(ids) :]
        return self._tokenizer.decode(new, skip_special_tokens=True), len(new) < self._max_tokens

    def _answers(self, questions: Sequence[Question], *, marked: bool) -> list[list[Reply]]:
        asked = [
            self._ids(prompts.yes_or_no(question.explanation, text, marked=marked), "")
            for question in questions
            for text in question.texts
        ]
        split = len(self._yes)
        scores = iter(
            float(torch.sigmoid(torch.logsumexp(row[:split], 0) - torch.logsumexp(row[split:], 0)))
            for row in self._next_word(asked, [*self._yes, *self._no])
        )
        return [[Reply(OK, next(scores)) for _ in question.texts] for question in questions]

    def _ids(self, messages: prompts.Messages, start: str) -> list[int]:
        """The tokens of a prompt and of the beginning of the answer."""
        if self._tokenizer.chat_template:
            text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            return self._tokenizer(text + start.lstrip(), add_special_tokens=False)["input_ids"]
        return self._tokenizer(prompts.as_text(messages) + start)["input_ids"]

    def _next_word(self, asked: list[list[int]], wanted: list[int]) -> list[torch.Tensor]:
        """Logits `(len(wanted),)` of the wanted next tokens after each prompt; equal prompts are asked once."""
        prompts_asked = [tuple(ids[-self._positions :]) for ids in asked]
        different = sorted(set(prompts_asked), key=lambda ids: (len(ids), ids))
        found: dict[tuple[int, ...], torch.Tensor] = {}
        with tqdm(total=len(different), unit=" prompts", desc="ask") as progress:
            while different:
                # The last prompt of a batch is its longest.
                size = max(1, _BATCH_TOKENS // len(different[0]))
                while size > 1 and size * len(different[:size][-1]) > _BATCH_TOKENS:
                    size -= 1
                batch, different = different[:size], different[size:]
                found |= dict(zip(batch, self._logits(batch, wanted), strict=True))
                progress.update(len(batch))
        return [found[ids] for ids in prompts_asked]

    @torch.inference_mode()
    def _logits(self, batch: list[tuple[int, ...]], wanted: list[int]) -> torch.Tensor:
        # Padding on the right: a causal model does not look ahead, so it does not see it.
        lengths = torch.tensor([len(ids) for ids in batch])
        tokens = torch.full((len(batch), int(lengths.max())), self._pad)
        for row, ids in enumerate(batch):
            tokens[row, : len(ids)] = torch.tensor(ids)
        mask = (torch.arange(tokens.shape[1]) < lengths[:, None]).long()
        # Prompts of a batch are about as long, so few positions are the last of one.
        places, place_of = torch.unique(lengths - 1, return_inverse=True)
        kept = {"logits_to_keep": places.to(self._device)} if self._gives_some_logits else {}
        out = self._model(tokens.to(self._device), attention_mask=mask.to(self._device), use_cache=False, **kept)
        return out.logits[torch.arange(len(batch)), place_of if kept else lengths - 1][:, wanted].float().cpu()
