"""Which model is meant: one object that says where it comes from and how it computes. Needs no torch."""

import dataclasses
from pathlib import Path

from sae_stability.errors import StudyError, one_line
from sae_stability.files import sha256 as file_sha256
from sae_stability.models.names import model_folder, resolve_model

_WEIGHTS = "model.safetensors"


@dataclasses.dataclass(frozen=True)
class ModelSource:
    """A transformers model: where it comes from, which weights it must have, and the precision it computes in."""

    name: str = dataclasses.field(metadata={"flag": "model"})
    """Hub name, folder or package:NAME/FOLDER of the model"""

    revision: str | None = None
    """Branch, tag or commit of a hub model; its main branch if not given"""

    sha256: str | None = None
    """SHA-256 that model.safetensors must have; not checked if not given"""

    dtype: str = dataclasses.field(default="float32", metadata={"flag": "model-dtype"})
    """Precision that the model computes in: float32, float16 or bfloat16"""

    part: str | None = dataclasses.field(default=None, metadata={"flag": "model-part"})
    """Module that is run by itself in place of the whole model, such as encoder or text_model"""

    random_seed: int | None = dataclasses.field(default=None, metadata={"flag": "model-random-seed"})
    """Seed of random weights in place of those in the files, as before any training; those in the files if not given"""

    @property
    def folder(self) -> Path | None:
        """The folder of a local model or of one in an installed package; None for a model on the hub.

        Raises:
            StudyError: no such package or folder.
        """
        return model_folder(self.name)

    @property
    def location(self) -> str:
        """What transformers loads the model from: the folder's path, or the hub name. Errors as for `folder`."""
        return resolve_model(self.name)

    def check_weights(self) -> None:
        """Refuse weights that have another SHA-256 than the stated one. Reads the whole file, but loads nothing.

        Raises:
            StudyError: other weights, no `model.safetensors`, or a hub model that is out of reach.
        """
        if self.sha256 is None:
            return
        path = self._weights_file()
        if not path.is_file():
            raise StudyError(f"model '{self.name}': there is no {_WEIGHTS} to check against the sha256 given")
        found = file_sha256(path)
        if found != self.sha256.lower():
            raise StudyError(
                f"model '{self.name}': {_WEIGHTS} has sha256 {found}, expected {self.sha256}; "
                "download the file again, or correct sha256 if these weights are the ones you mean"
            )

    def _weights_file(self) -> Path:
        if folder := self.folder:
            return folder / _WEIGHTS
        import huggingface_hub

        with one_line(
            f"model '{self.name}': cannot fetch {_WEIGHTS} to check its sha256", "check the name, or the network"
        ):
            return Path(huggingface_hub.hf_hub_download(self.name, _WEIGHTS, revision=self.revision))
