"""A judge that compares sentences: an explanation and a text are alike if their embeddings are.

The embedding is that of Sentence-BERT (Reimers and Gurevych, 2019): the mean of the last hidden states over the tokens,
scaled to length 1.
"""

from collections.abc import Sequence

import numpy as np
import torch

from sae_stability.interpret.judges import Question
from sae_stability.interpret.outcomes import OK, Reply
from sae_stability.interpret.samples import Shown
from sae_stability.models.loading import load_model
from sae_stability.models.source import ModelSource
from sae_stability.models.tokenizer import load_tokenizer

_BATCH_TOKENS = 4096
_LONGEST = 256  # tokens of a text; the rest is cut off


class Embedding:
    """Scores a text by the cosine between its embedding and the explanation's.

    Args:
        model: hub name, folder or package:NAME/FOLDER of a sentence encoder.
        revision: branch, tag or commit of a hub model.
        sha256: SHA-256 that its weights must have; None: not checked.
        dtype: precision that it computes in.
        device: where it computes.
        threads: processor cores to use.

    Raises:
        StudyError: the model cannot be loaded.
    """

    threshold = None

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        sha256: str | None = None,
        dtype: str = "float32",
        device: str = "cpu",
        threads: int = 1,
    ) -> None:
        torch.set_num_threads(threads)
        source = ModelSource(model, revision, sha256, dtype)
        self._tokenizer, self._model, self._device = load_tokenizer(source), load_model(source, device), device
        self._longest = min(_LONGEST, getattr(self._model.config, "max_position_embeddings", _LONGEST))

    def explain(self, latents: Sequence[Shown]) -> list[tuple[Reply, str]]:
        """Not answered: `limits.ANSWERS` leaves it out."""
        raise NotImplementedError

    def detect(self, questions: Sequence[Question]) -> list[list[Reply]]:
        """See `Judge`."""
        texts = [text for question in questions for text in (question.explanation, *question.texts)]
        vectors = self.embed(texts)
        found, start = [], 0
        for question in questions:
            end = start + 1 + len(question.texts)
            cosines = vectors[start + 1 : end] @ vectors[start]
            found.append([Reply(OK, float(cosine)) for cosine in cosines])
            start = end
        return found

    def fuzz(self, questions: Sequence[Question]) -> list[list[Reply]]:
        """Not answered: `limits.ANSWERS` leaves it out."""
        raise NotImplementedError

    def intruder(self, texts: Sequence[tuple[str, ...]]) -> list[Reply]:
        """See `Judge`. The intruder is the text least similar to the mean of the others."""
        vectors = self.embed([text.replace("<<", "").replace(">>", "") for some in texts for text in some])
        found, start = [], 0
        for some in texts:
            these = vectors[start : start + len(some)]
            rest = these.sum(axis=0) - these
            found.append(Reply(OK, int(np.argmin((these * rest).sum(axis=1) / np.linalg.norm(rest, axis=1)))))
            start += len(some)
        return found

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings of length 1, `(len(texts), width)` float64; of equal texts only one is computed."""
        if not texts:  # a tokenizer fails on none
            return np.zeros((0, self._model.config.hidden_size))
        different = list(dict.fromkeys(texts))
        ids = self._tokenizer(different, truncation=True, max_length=self._longest)["input_ids"]
        order = sorted(range(len(different)), key=lambda place: (len(ids[place]), place))
        vectors = np.zeros((len(different), self._model.config.hidden_size))
        for batch in _batches(order, ids):
            vectors[batch] = self._embed([ids[place] for place in batch])
        place_of = {text: place for place, text in enumerate(different)}
        return vectors[[place_of[text] for text in texts]]

    @torch.inference_mode()
    def _embed(self, ids: list[list[int]]) -> np.ndarray:
        # Not by the tokenizer: not every one has a token for padding, and which stands there does not matter.
        lengths = torch.tensor([len(some) for some in ids])
        tokens = torch.zeros(len(ids), int(lengths.max()), dtype=torch.long)
        for row, some in enumerate(ids):
            tokens[row, : len(some)] = torch.tensor(some)
        mask = (torch.arange(tokens.shape[1]) < lengths[:, None]).long().to(self._device)
        hidden = self._model(tokens.to(self._device), attention_mask=mask).last_hidden_state.float()
        mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return torch.nn.functional.normalize(mean, dim=1).double().cpu().numpy()


def _batches(order: list[int], ids: list[list[int]]) -> list[list[int]]:
    """Texts of similar length together, at most `_BATCH_TOKENS` tokens with padding."""
    found: list[list[int]] = []
    for place in order:
        # The last text of a batch is its longest.
        if found and (len(found[-1]) + 1) * len(ids[place]) <= _BATCH_TOKENS:
            found[-1].append(place)
        else:
            found.append([place])
    return found
