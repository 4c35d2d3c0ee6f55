"""A GGUF file, which holds a model quantised for llama.cpp, to a folder that transformers loads."""

from pathlib import Path

import torch
import transformers

from sae_stability.errors import StudyError, one_line
from sae_stability.files import publish, workplace
from sae_stability.files import sha256 as file_sha256
from sae_stability.models.names import model_folder


def convert_gguf(*, folder: str, file: str, sha256: str | None = None, out: Path) -> None:
    """Write the model and the tokenizer of a GGUF file as a folder that any study can name; weights become float32.

    Quantised weights stay as coarse as they are: only their storage changes.

    Args:
        folder: the folder with the file, or package:NAME for one that an installed package carries.
        file: the file's name, ending in .gguf.
        sha256: SHA-256 that the file must have; not checked if not given.
        out: folder to write into.

    Raises:
        StudyError: no such file, other contents than stated, a package is missing, or transformers cannot read it.
    """
    source = model_folder(folder)
    path = None if source is None else source / file
    if path is None or not path.is_file():
        raise StudyError(f"convert-gguf: {folder} holds no file {file}; give the folder and the name of a .gguf file")
    _check(path, sha256)
    _import_what_transformers_needs()
    with one_line(f"{path}: transformers cannot read it", "convert it with the library that wrote it"):
        model = transformers.AutoModelForCausalLM.from_pretrained(
            source,
            gguf_file=file,
            dtype=torch.float32,
            quantization_config=transformers.GgufConfig(dequantize=True),
            trust_remote_code=False,
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, gguf_file=file, trust_remote_code=False)
    # The file says which tokens begin and end a text; transformers takes this over for the model and not the tokenizer.
    ends = {"bos_token": model.config.bos_token_id, "eos_token": model.config.eos_token_id}
    tokenizer.add_special_tokens({name: tokenizer.convert_ids_to_tokens(token) for name, token in ends.items()})
    with workplace(out) as made:
        model.save_pretrained(made)
        tokenizer.save_pretrained(made)
        names = {path.name for path in made.glob("[!.]*")}
        # config.json makes the folder a model, so it comes last.
        publish(made, out, [*sorted(names - {"config.json"}), "config.json"])


def _check(path: Path, wanted: str | None) -> None:
    found = None if wanted is None else file_sha256(path)
    if found is not None and found != wanted.lower():
        raise StudyError(f"{path}: has sha256 {found}, expected {wanted}; fetch the file again, or correct --sha256")


def _import_what_transformers_needs() -> None:
    """A package that is missing is then named with the extra that installs it."""
    import accelerate  # noqa: F401
    import gguf  # noqa: F401
