"""The command line's grammar: one sub-command a verb of cli.py, and what each takes."""

import argparse
import dataclasses
import json
import typing
from collections.abc import Callable
from pathlib import Path

from sae_stability.sae.training.settings import TrainSettings

STUDY = Path("config.yaml")


def parser() -> argparse.ArgumentParser:
    """The whole grammar. A parsed namespace holds `verb` and one attribute an argument."""
    top = argparse.ArgumentParser(
        prog="python -m sae_stability",
        description="Which features of a sparse autoencoder are the model's, and which are its seed's? "
        "The whole study: `snakemake --cores all`. Any single step: the verbs below.",
        epilog="`python -m sae_stability VERB --help` lists what a verb takes.",
    )
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True, title="verbs")
    for name, (text, declare) in VERBS.items():
        sub = verbs.add_parser(
            name, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        declare(sub)
    return top


def _validate(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("study", nargs="?", type=Path, default=STUDY, help="the study's file")


def _info(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("checkpoint", type=Path, help="an SAE of any format that is read")


def _tokenize(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--corpus", type=_json, required=True, help="JSON: kind and what belongs to it")
    sub.add_argument("--corpus-seed", type=int, default=0, help="order of the documents")
    sub.add_argument("--tokenizer", required=True, help="hub name, local folder or package:NAME/FOLDER")
    sub.add_argument("--revision", default=None, help="the tokenizer's revision on the hub")
    sub.add_argument("--context-length", type=int, required=True, help="tokens a block")
    sub.add_argument("--packing", type=_boolean, default=True, help="several documents a block, or one")
    sub.add_argument("--heldout-tokens", type=int, required=True, help="tokens kept for evaluation")
    sub.add_argument("--train-tokens", type=int, required=True, help="tokens for training")
    sub.add_argument("--chunk-tokens", type=int, required=True, help="training tokens a chunk")
    _out(sub, "folder for the blocks")


def _extract(sub: argparse.ArgumentParser) -> None:
    _model(sub)
    sub.add_argument("--tokens", type=Path, required=True, help="folder of token blocks")
    sub.add_argument("--chunk", required=True, help='number of the chunk, or "heldout"')
    sub.add_argument("--chunk-tokens", type=int, required=True, help="rows of a full chunk")
    sub.add_argument("--hookpoint", action="append", required=True, help="PATH or PATH:in; once for each hookpoint")
    sub.add_argument("--out", action="append", type=Path, required=True, help="a folder for each hookpoint, in order")
    sub.add_argument("--dtype", default="float16", help="type of the stored numbers")
    sub.add_argument("--shard-rows", type=int, required=True, help="rows a shard")
    sub.add_argument("--shuffle-seed", type=int, default=0, help="order of the rows")
    sub.add_argument("--keep-special", type=_boolean, default=False, help="keep BOS and other special tokens")
    sub.add_argument("--max-norm-multiple", type=float, default=None, help="drop rows above this many median norms")
    sub.add_argument("--batch-tokens", type=int, default=None, help="tokens a forward pass; default by the device")
    sub.add_argument("--config-hash", default="", help="what the activations were made from")
    _machine(sub)


def _import_matrix(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--matrix", type=Path, required=True, help="npy, safetensors or Parquet file")
    sub.add_argument("--tensor", default=None, help="name of the tensor in a safetensors file")
    sub.add_argument("--chunk", required=True, help='number of the chunk, or "heldout"')
    sub.add_argument("--heldout-rows", type=int, required=True, help="rows kept for evaluation")
    sub.add_argument("--train-rows", type=int, required=True, help="rows for training")
    sub.add_argument("--chunk-rows", type=int, required=True, help="training rows a chunk")
    sub.add_argument("--shard-rows", type=int, required=True, help="rows a shard")
    sub.add_argument("--dtype", default="float32", help="type of the stored numbers")
    sub.add_argument("--shuffle-seed", type=int, default=0, help="order of the rows")
    sub.add_argument("--config-hash", default="", help="what the activations were made from")
    _out(sub, "folder for the chunk")
    _machine(sub)


def _train(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--chunk", type=Path, required=True, help="folder of the chunk to train on")
    sub.add_argument("--chunk-index", type=int, default=0, help="which chunk of the training this is, from 0")
    sub.add_argument("--first-chunk-manifest", type=Path, default=None, help="chunk 0's, for its mean and scale")
    sub.add_argument("--activations-hash", default=None, help="what the chunk must have been made from")
    _machine(sub)
    types = typing.get_type_hints(TrainSettings)
    for field in dataclasses.fields(TrainSettings):
        if field.name == "init_seed":
            continue
        required = field.default is dataclasses.MISSING
        kind = _converter(types[field.name])
        flag = "--" + field.name.replace("_", "-")
        default = None if required else field.default
        sub.add_argument(flag, type=kind, required=required, default=default, help=f"{field.name.replace('_', ' ')}")
    each = sub.add_argument_group(
        "each SAE",
        "To train several SAEs that differ in their init seed, reading the chunk once, give --init-seed once for each, "
        "and each of the others that is used as often, in the same order.",
    )
    each.add_argument("--init-seed", action="append", type=int, default=[], help="seed of the weights; 0 if not given")
    for name, text in (
        ("previous", "state after the chunk before"),
        ("out", "folder for the SAE, after the last chunk"),
        ("state-out", "file for the state, before the last chunk"),
        ("checkpoint", "file to go on from when killed in the middle"),
        ("tensorboard", "folder for TensorBoard event files"),
    ):
        each.add_argument(f"--{name}", action="append", type=Path, default=[], help=text)
    each.add_argument("--config-hash", action="append", default=[], help="what the SAE was made from")


def _convert(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--checkpoint", type=Path, required=True, help="folder or file of an SAE")
    sub.add_argument("--format", default=None, help="its format; by default told by its files")
    sub.add_argument("--to", default="own", help="format to write: own, sparsify, saelens or dictionary_learning")
    sub.add_argument("--n-latents", type=int, default=None, help="latents that the SAE must have")
    sub.add_argument("--d-model", type=int, default=None, help="width that the SAE must have")
    sub.add_argument("--config-hash", default="", help="what the SAE was made from")
    _out(sub, "folder for the SAE")


def _fetch(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--repo", required=True, help="repository on the hub: owner/name")
    sub.add_argument("--folder", required=True, help="path of the SAE in the repository; . for its top")
    sub.add_argument("--revision", default=None, help="branch, tag or commit")
    _out(sub, "folder for the files, which keep their path in the repository")


def _evaluate(sub: argparse.ArgumentParser) -> None:
    several = {"action": "append", "type": Path, "required": True}
    sub.add_argument("--sae", **several, help="folder of an SAE; once for each")
    sub.add_argument("--chunk", type=Path, default=None, help="folder of the held-out activations, if there are any")
    sub.add_argument("--tokens", type=Path, default=None, help="held-out blocks, for the cross-entropy")
    sub.add_argument("--hookpoint", default=None, help="where the SAEs are spliced in")
    sub.add_argument("--out-json", **several, help="file for the quality metrics, in the order of --sae")
    sub.add_argument("--out-parquet", **several, help="file for the table of latents, in the order of --sae")
    sub.add_argument("--config-hash", action="append", default=[], help="what the evaluation was made from")
    sub.add_argument("--activations-hash", default=None, help="what the chunk must have been made from")
    sub.add_argument("--sae-hash", action="append", default=[], help="what the SAE must have been made from")
    _model(sub, required=False)
    _machine(sub)


def _match(sub: argparse.ArgumentParser) -> None:
    several = {"action": "append", "type": Path}
    sub.add_argument("--a", **several, required=True, help="folder of the first SAE; once for each pair")
    sub.add_argument("--b", **several, required=True, help="folder of the second SAE, in the order of --a")
    sub.add_argument("--latents-a", **several, default=[], help="the first SAE's table of latents (alive flags)")
    sub.add_argument("--latents-b", **several, default=[], help="the second SAE's table of latents")
    sub.add_argument("--config-hash", action="append", default=[], help="what the match was made from")
    sub.add_argument("--out", **several, required=True, help="file for the match")
    _machine(sub)


def _floor(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--n-latents", type=int, required=True, help="rows of each random dictionary")
    sub.add_argument("--d-model", type=int, required=True, help="width of each row")
    sub.add_argument("--rep", action="append", type=int, required=True, help="which repeat; once for each")
    sub.add_argument("--config-hash", default="", help="what the floor was made from")
    sub.add_argument(
        "--out", action="append", type=Path, required=True, help="file for the match, in the order of --rep"
    )
    _machine(sub)


def _overlap(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--cohort", required=True, help="name of the cohort")
    sub.add_argument("--match", action="append", type=Path, required=True, help="match files, one a pair")
    sub.add_argument("--floor", action="append", type=Path, default=[], help="matches of random dictionaries")
    sub.add_argument("--latents", action="append", type=_named(int), default=[], help="SEED=table of latents")
    sub.add_argument("--sae", action="append", type=_named(int), default=[], help="SEED=folder of the SAE")
    sub.add_argument("--threshold", type=float, default=0.7, help="least cosine of a shared latent")
    _out(sub, "folder for the tables")


def _figure_table(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--figure", required=True, help="name of the figure")
    sub.add_argument("--input", action="append", type=_named(str), required=True, help="LABEL=tables, in order")
    _out(sub, "file for the tidy table (Parquet; CSV beside it)")


def _figure(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--figure", required=True, help="name of the figure")
    sub.add_argument("--table", type=Path, required=True, help="its tidy table")
    sub.add_argument("--style", type=_json, default={}, help="JSON: the study's style")
    for kind in ("svg", "pdf", "png", "caption"):
        sub.add_argument(f"--{kind}", type=Path, required=True, help=f"file for the {kind}")


def _summary(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--study", required=True, help="name of the study")
    sub.add_argument("--base", required=True, help="the cohort whose numbers come first")
    sub.add_argument("--about", action="append", type=_setting, default=[], help="NAME=VALUE of the cohort's settings")
    sub.add_argument("--overlap", action="append", type=_named(str), required=True, help="COHORT=folder of tables")
    sub.add_argument("--evaluation", action="append", type=_named(str), default=[], help="COHORT=metrics file")
    _out(sub, "file for the text")


def _model(sub: argparse.ArgumentParser, required: bool = True) -> None:
    sub.add_argument("--model", required=required, default=None, help="hub name, folder or package:NAME/FOLDER")
    sub.add_argument("--revision", default=None, help="the model's revision on the hub")
    sub.add_argument("--sha256", default=None, help="checksum that model.safetensors must have")
    sub.add_argument("--model-dtype", default="float32", help="type that the model computes in")


def _machine(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--threads", type=int, default=1, help="processor cores to use")
    sub.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where to compute")


def _out(sub: argparse.ArgumentParser, text: str) -> None:
    sub.add_argument("--out", type=Path, required=True, help=text)


def _converter(annotation: object) -> Callable:
    """What turns a word of the command line into a field's value: `float | None` is read as a float."""
    choices = [kind for kind in typing.get_args(annotation) or (annotation,) if kind is not type(None)]
    return choices[0] if isinstance(choices[0], type) else str


def _named(key: Callable) -> Callable[[str], tuple]:
    """A type for arguments of the form KEY=PATH: (key, Path)."""

    def parse(text: str) -> tuple:
        # The path comes after the last "=": labels may hold one.
        name, _, path = text.rpartition("=")
        if not name:
            raise argparse.ArgumentTypeError(f"{text!r}: expected KEY=PATH")
        return key(name), Path(path)

    return parse


def _setting(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _json(text: str) -> dict:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: not JSON ({error})") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f'{text!r}: expected {{"key": value, ...}}')
    return value


def _boolean(text: str) -> bool:
    try:
        return {"true": True, "false": False}[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected true or false") from None


VERBS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "validate": ("check a study's file and its hookpoints", _validate),
    "plan": ("what a study will cost: jobs, tokens, disk, GPU hours", _validate),
    "train": ("train an SAE, or several, on one chunk of activations", _train),
    "match": ("match SAEs one to one, exactly: two, or several pairs", _match),
    "convert": ("an SAE from one library's format to another's", _convert),
    "fetch": ("an SAE from the Hugging Face hub", _fetch),
    "info": ("what an SAE is: shapes, settings, quality", _info),
    "tokenize": ("stage: documents to token blocks", _tokenize),
    "extract": ("stage: token blocks to shards of activations", _extract),
    "import-matrix": ("stage: a matrix of your own to shards of activations", _import_matrix),
    "evaluate": ("stage: quality of SAEs on held-out activations", _evaluate),
    "floor": ("stage: match pairs of random dictionaries", _floor),
    "overlap": ("stage: matches of a cohort to overlap tables", _overlap),
    "figure-table": ("stage: overlap tables to a figure's tidy table", _figure_table),
    "figure": ("stage: a tidy table to a figure and its caption", _figure),
    "summary": ("stage: key numbers of the study in words", _summary),
}
