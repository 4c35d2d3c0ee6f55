"""The verb `explore`: SAEs, a model and a text to a site in which their latents are looked at, without a study."""

import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sae_stability.activations.extraction import extract
from sae_stability.activations.reader import Chunk
from sae_stability.corpus.documents import documents
from sae_stability.corpus.tokenize import token_blocks, write_token_set
from sae_stability.errors import StudyError
from sae_stability.explorer.write import RECORD, write_explorer
from sae_stability.files import read_table, write_table
from sae_stability.firing.job import measure_firing
from sae_stability.match import row_geometry
from sae_stability.match.floors import write_floors
from sae_stability.match.overlap_tables import latents_table, write_overlap
from sae_stability.match.pairs import match_pairs
from sae_stability.match.threshold import THRESHOLD
from sae_stability.models.source import ModelSource
from sae_stability.models.tokenizer import load_tokenizer
from sae_stability.models.written import written
from sae_stability.ranges import Cosine, Count
from sae_stability.sae import formats
from sae_stability.sae.formats import own
from sae_stability.sae.quality.evaluate import evaluate

_SHARD_ROWS = 1 << 15


@dataclass(frozen=True)
class _Group:
    """SAEs of one size: a cohort of the site, and a folder of each kind of tables.

    Attributes:
        name: of the cohort.
        given: what the person named; the place in this list stands for the seed.
        n_latents, d_model: size of each.
        work: folder of all tables.
    """

    name: str
    given: list[Path]
    n_latents: int
    d_model: int
    work: Path

    def folder(self, kind: str) -> Path:
        return self.work / kind / self.name

    def of(self, kind: str, ending: str = "") -> list[tuple[str, Path]]:
        """The file, or folder, of each SAE, by its number."""
        return [(str(n), self.folder(kind) / f"seed-{n}{ending}") for n in range(len(self.given))]

    def pairs(self, kind: str) -> list[tuple[str, Path]]:
        """The file of each pair, by its two numbers."""
        found = itertools.combinations(range(len(self.given)), 2)
        return [(f"{a}-{b}", self.folder(kind) / f"{a}-{b}.parquet") for a, b in found]


def explore(
    saes: Sequence[Path],
    *,
    model: ModelSource,
    text: Sequence[str],
    text_column: str = "text",
    hookpoint: str | None = None,
    tokens: Count = 100_000,
    context_length: Count = 128,
    threshold: Cosine = THRESHOLD,
    out: Path,
    threads: Count = 1,
    device: Literal["cpu", "cuda"] = "cpu",
) -> str:
    """Make a site in which the latents of SAEs are looked at: texts on which they fire, and their partners.

    All SAEs read the model at one place. Those of one size are matched with each other. Temporary files lie in a folder
    beside --out, about 4 bytes a token and dimension of the model, and are removed at the end.

    Args:
        saes: folder or file of an SAE, of any format that is read; one or more.
        model: the model that they read.
        text: file or pattern of files of text (.txt, .md, .jsonl, .csv, .parquet ...); once for each.
        text_column: field or column of the text, in files that have some.
        hookpoint: where they read it, PATH of a module for its output or PATH:in for its input; by default what the
            first SAE records.
        tokens: at most so many tokens of the text are read.
        context_length: tokens that the model reads at once.
        threshold: the cosine from which a latent counts as shared, in [0, 1].
        out: folder for the site; its first page is `index.html`.
        threads: processor cores to use.
        device: where to compute.

    Returns:
        Where the site is, and what it shows.

    Raises:
        StudyError: an SAE, the model, the hookpoint or the text cannot be read, they do not belong together, or `out`
            holds something else.
    """
    _check_free(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".explore-", dir=out.parent) as folder:
        work = Path(folder)
        groups, recorded = _read(list(saes), work)
        hookpoint = hookpoint or recorded
        if hookpoint is None:
            raise StudyError(f"{saes[0]}: does not say where it reads the model; give --hookpoint")
        spec = {"kind": "files", "paths": list(text), "text_column": text_column}
        rows = _write_tokens(spec, model, tokens, context_length, work / "tokens")
        chunk = work / "chunk"
        extract(
            model=model,
            tokens=work / "tokens",
            chunk="heldout",
            chunk_tokens=rows,
            hookpoint=[hookpoint],
            out=[chunk],
            dtype="float32",
            shard_rows=_SHARD_ROWS,
            threads=threads,
            device=device,
        )
        for group in groups:
            _check_width(group, chunk, hookpoint)
        for group in groups:
            _measure(group, chunk, work / "tokens", threshold, threads, device)
        told = {"model": model.name, "hookpoint": hookpoint, "text": ", ".join(text), "tokens": f"{rows:,}"}
        _write(groups, told, model, threshold, out, threads)
    return f"{out / 'index.html'}: {len(saes)} SAEs on {rows:,} tokens; open it in a browser"


def _check_free(out: Path) -> None:
    if out.exists() and not (out.is_dir() and ((out / "data" / RECORD).exists() or not any(out.iterdir()))):
        raise StudyError(f"{out}: is not empty and holds no site of this kind; give --out another folder")


def _read(given: list[Path], work: Path) -> tuple[list[_Group], str | None]:
    """Copy the SAEs in the project's own format, and say where the first one reads its model, if it tells."""
    by_size: dict[tuple[int, int], list[Path]] = {}
    for path in given:
        by_size.setdefault(formats.shape(path), []).append(path)
    groups = []
    for (n_latents, d_model), paths in by_size.items():
        name = "saes" if len(by_size) == 1 else f"saes-{n_latents}"
        groups.append(_Group(name, paths, n_latents, d_model, work))
        for path, (_, folder) in zip(paths, groups[-1].of("saes"), strict=True):
            own.write(folder, formats.read(path))
    return groups, formats.read(given[0]).origin.get("hookpoint")


def _write_tokens(spec: dict, model: ModelSource, most: int, context_length: int, out: Path) -> int:
    """Cut the text into blocks; return the number of tokens, without special ones."""
    count = 0
    for blocks in token_blocks(documents(spec, 0), load_tokenizer(model), context_length, packing=True):
        count = min(most, count + int(blocks.trainable.sum()))
        if count == most:
            break
    if not count:
        raise StudyError(f"{', '.join(spec['paths'])}: holds no text; give --text a file with some")
    sizes = {"heldout_tokens": count, "train_tokens": 0, "chunk_tokens": count}
    write_token_set(documents(spec, 0), model, context_length=context_length, packing=True, **sizes, out=out)
    return count


def _check_width(group: _Group, chunk: Path, hookpoint: str) -> None:
    width = Chunk(chunk).d_model
    if group.d_model != width:
        raise StudyError(
            f"{group.given[0]}: has width {group.d_model:,}, but the model has width {width:,} at {hookpoint}; "
            "give its own --model and --hookpoint"
        )


def _measure(group: _Group, chunk: Path, tokens: Path, threshold: float, threads: int, device: str) -> None:
    """Write the tables of SAEs of one size: quality, matches, overlap, and what their latents fire on."""
    saes, quality, latents = group.of("saes"), group.of("evaluation", ".json"), group.of("evaluation", ".parquet")
    evaluate(
        sae=[folder for _, folder in saes],
        chunk=chunk,
        out_json=[file for _, file in quality],
        out_parquet=[file for _, file in latents],
        threads=threads,
        device=device,
    )
    matches = group.pairs("matches")
    if matches:
        _match(group, matches, dict(saes), dict(latents), threshold, threads, device)
    else:
        geometry = {0: row_geometry.of(saes[0][1])}
        table = latents_table([], {0: read_table(latents[0][1])[0]}, threshold, geometry)
        write_table(group.folder("overlap") / "latents.parquet", table)
    measure_firing(
        sae=saes,
        chunk=chunk,
        tokens=tokens,
        out=group.of("firing", ".parquet"),
        contexts_out=group.of("contexts", ".parquet"),
        match=matches,
        cofiring_out=group.pairs("cofiring"),
        work=group.work,
        threads=threads,
        device=device,
    )


def _match(group: _Group, matches: list, saes: dict, latents: dict, threshold: float, threads: int, device: str):
    """Match every pair, and one pair of random dictionaries of the same shape."""
    sides = [name.split("-") for name, _ in matches]
    lists = {"a": [saes[a] for a, _ in sides], "b": [saes[b] for _, b in sides]}
    lists |= {"latents_a": [latents[a] for a, _ in sides], "latents_b": [latents[b] for _, b in sides]}
    files, floor = [file for _, file in matches], group.folder("floors") / "0.parquet"
    match_pairs(**lists, out=files, threads=threads, device=device)
    shape = {"n_latents": group.n_latents, "d_model": group.d_model}
    write_floors(**shape, rep=[0], out=[floor], threads=threads, device=device)
    write_overlap(
        cohort=group.name,
        match=files,
        floor=[floor],
        latents=[(int(seed), file) for seed, file in latents.items()],
        sae=[(int(seed), folder) for seed, folder in saes.items()],
        threshold=threshold,
        out=group.folder("overlap"),
    )


def _write(
    groups: list[_Group], told: dict[str, str], model: ModelSource, threshold: float, out: Path, threads: int
) -> None:
    about = []
    for group in groups:
        paths = {f"seed {number}": path for number, path in enumerate(group.given)}
        about += [(group.name, f"{name}: {value}") for name, value in (told | paths).items()]
    paired = [group for group in groups if len(group.given) > 1]
    kinds = dict.fromkeys(("overlap", "evaluation", "firing", "contexts"), groups)
    kinds |= dict.fromkeys(("matches", "cofiring"), paired)
    folders = {kind: [(group.name, group.folder(kind)) for group in some] for kind, some in kinds.items()}
    folders["sae"] = [(f"{number}/{group.name}", path) for group in groups for number, path in group.of("saes")]
    folders["head"] = [(group.name, written(model)) for group in groups]
    name = f"SAEs of {model.name}"
    write_explorer(study=name, threshold=threshold, about=about, **folders, out=out, threads=threads)
