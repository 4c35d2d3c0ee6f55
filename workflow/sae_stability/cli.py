"""One function a verb; rules and people call these and nothing else.

Every function imports late: a verb that needs no torch does not wait for it. What a verb reaches from here is what
`code_hash` hashes for its rule; the grammar of the arguments stands apart in arguments.py.
"""

import argparse
import os
import sys

from sae_stability.errors import StudyError


def main(argv: list[str] | None = None) -> int:
    """Run one verb. Returns the exit code: 0, or 2 with one or two lines on stderr for a mistake one can mend."""
    from sae_stability.verbs_old import parser

    args = parser().parse_args(argv)
    try:
        _check_threads(args)
        globals()[args.verb.replace("-", "_")](args)
    except StudyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader of our output went away (`... | head`): nothing to say, and nowhere to say it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        # A path that cannot be read or written, or a full disk.
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    return 0


def validate(args: argparse.Namespace) -> None:
    """Check a study's file, then that its text is there, then its hookpoints against the model."""
    from sae_stability.study.build import load_study
    from sae_stability.study.hookpoints import check_hookpoints
    from sae_stability.study.sources import check_corpora

    study = load_study(args.study)
    check_corpora(study)
    check_hookpoints(study)
    saes = sum(len(cohort.seeds) for cohort in study.cohorts.values())
    print(f"{args.study}: valid; {len(study.cohorts)} cohorts, {saes} SAEs")


def plan(args: argparse.Namespace) -> None:
    """Print what a study will cost."""
    from sae_stability.pipeline.plan import format_plan
    from sae_stability.pipeline.plan import plan as plan_of
    from sae_stability.study.build import load_study

    print(format_plan(plan_of(load_study(args.study))))


def tokenize(args: argparse.Namespace) -> None:
    """Documents to token blocks."""
    from sae_stability.corpus.tokenize import tokenize as write_blocks

    write_blocks(
        corpus=args.corpus,
        corpus_seed=args.corpus_seed,
        tokenizer=args.tokenizer,
        revision=args.revision,
        context_length=args.context_length,
        packing=args.packing,
        heldout_tokens=args.heldout_tokens,
        train_tokens=args.train_tokens,
        chunk_tokens=args.chunk_tokens,
        out=args.out,
    )


def extract(args: argparse.Namespace) -> None:
    """Token blocks to shards of activations, for several hookpoints in one forward pass."""
    from sae_stability.devices import claimed

    with claimed(args.device) as device:
        from sae_stability.activations.extraction import extract as write_shards
        from sae_stability.models.source import ModelSource

        write_shards(
            model=ModelSource(args.model, args.revision, args.sha256, args.model_dtype),
            threads=args.threads,
            tokens=args.tokens,
            chunk=_chunk(args.chunk),
            chunk_tokens=args.chunk_tokens,
            hookpoint=args.hookpoint,
            out=args.out,
            dtype=args.dtype,
            shard_rows=args.shard_rows,
            shuffle_seed=args.shuffle_seed,
            keep_special=args.keep_special,
            max_norm_multiple=args.max_norm_multiple,
            batch_tokens=args.batch_tokens,
            config_hash=args.config_hash,
            device=device,
        )


def import_matrix(args: argparse.Namespace) -> None:
    """A matrix of one's own to shards of activations."""
    from sae_stability.activations.matrix import import_matrix as write_shards

    write_shards(
        matrix=args.matrix,
        threads=args.threads,
        tensor=args.tensor,
        chunk=_chunk(args.chunk),
        heldout_rows=args.heldout_rows,
        train_rows=args.train_rows,
        chunk_rows=args.chunk_rows,
        shard_rows=args.shard_rows,
        dtype=args.dtype,
        shuffle_seed=args.shuffle_seed,
        config_hash=args.config_hash,
        out=args.out,
    )


def train(args: argparse.Namespace) -> None:
    """Train an SAE, or several that differ in their init seed, on one chunk of activations."""
    import dataclasses

    from sae_stability.devices import claimed
    from sae_stability.files import check_made_from
    from sae_stability.sae.training.settings import TrainSettings

    check_made_from(args.chunk / "manifest.json", args.activations_hash)
    names = [field.name for field in dataclasses.fields(TrainSettings) if field.name != "init_seed"]
    shared = {name: getattr(args, name) for name in names}
    seeds = args.init_seed or [0]
    if not args.out and not args.state_out:
        raise StudyError("train: nothing to write; give --out (last chunk) or --state-out (any chunk before)")
    each = ("previous", "out", "state_out", "checkpoint", "tensorboard", "config_hash")
    _check_once_each(args, each, len(seeds))
    own = {name: getattr(args, name) for name in each if getattr(args, name)}
    settings = [TrainSettings(**shared, init_seed=seed) for seed in seeds]
    with claimed(args.device) as device:
        from sae_stability.sae.training.job import Member
        from sae_stability.sae.training.train import train_block

        train_block(
            [
                Member(settings=one, **{name: given[number] for name, given in own.items()})
                for number, one in enumerate(settings)
            ],
            chunk=args.chunk,
            chunk_index=args.chunk_index,
            first_chunk_manifest=args.first_chunk_manifest,
            threads=args.threads,
            device=device,
        )


def evaluate(args: argparse.Namespace) -> None:
    """Quality of SAEs on held-out activations."""
    from sae_stability.devices import claimed
    from sae_stability.files import check_made_from

    if args.chunk is not None:
        check_made_from(args.chunk / "manifest.json", args.activations_hash)
    _check_once_each(args, ("out_json", "out_parquet", "config_hash", "sae_hash"), len(args.sae))
    for sae, made_from in zip(args.sae, args.sae_hash, strict=False):
        check_made_from(sae / "cfg.json", made_from)
    with claimed(args.device) as device:
        from sae_stability.models.source import ModelSource
        from sae_stability.sae.quality.evaluate import evaluate as write_evaluation

        _set_threads(args.threads)
        write_evaluation(
            saes=args.sae,
            chunk=args.chunk,
            tokens=args.tokens,
            model=ModelSource(args.model, args.revision, args.sha256, args.model_dtype) if args.model else None,
            hookpoint=args.hookpoint,
            out_json=args.out_json,
            out_parquet=args.out_parquet,
            config_hash=args.config_hash,
            device=device,
        )


def convert(args: argparse.Namespace) -> None:
    """An SAE from one format to another."""
    from sae_stability.sae.convert import convert as write_converted

    write_converted(
        args.checkpoint,
        args.out,
        format=args.format,
        to=args.to,
        n_latents=args.n_latents,
        d_model=args.d_model,
        config_hash=args.config_hash,
    )


def fetch(args: argparse.Namespace) -> None:
    """An SAE from the hub."""
    from sae_stability.sae.hub import fetch as download

    download(args.repo, args.folder, args.out, args.revision)


def match(args: argparse.Namespace) -> None:
    """Match pairs of SAEs one to one, encoder and decoder apart, with the proof."""
    from sae_stability.devices import claimed
    from sae_stability.match.pairs import match_pairs
    from sae_stability.match.summary_line import in_words

    with claimed(args.device) as device:
        match_pairs(
            a=args.a,
            b=args.b,
            out=args.out,
            latents_a=args.latents_a,
            latents_b=args.latents_b,
            config_hash=args.config_hash,
            threads=args.threads,
            device=device,
        )
    for a, b, out in zip(args.a, args.b, args.out, strict=True):
        print(f"{a.name} and {b.name}: {in_words(out)}")


def floor(args: argparse.Namespace) -> None:
    """Match pairs of random dictionaries: what chance alone gives."""
    from sae_stability.devices import claimed
    from sae_stability.match.floors import write_floors

    with claimed(args.device) as device:
        write_floors(
            n_latents=args.n_latents,
            d_model=args.d_model,
            rep=args.rep,
            out=args.out,
            config_hash=args.config_hash,
            threads=args.threads,
            device=device,
        )


def overlap(args: argparse.Namespace) -> None:
    """Matches of a cohort to overlap tables."""
    from sae_stability.match.overlap_tables import write_overlap

    write_overlap(
        cohort=args.cohort,
        matches=args.match,
        floors=args.floor,
        latents=dict(args.latents),
        saes=dict(args.sae),
        threshold=args.threshold,
        out=args.out,
    )


def figure_table(args: argparse.Namespace) -> None:
    """Overlap tables to a figure's tidy table."""
    from sae_stability.figures.tables import write_table

    write_table(figure=args.figure, inputs=args.input, out=args.out)


def figure(args: argparse.Namespace) -> None:
    """A tidy table to a picture and its caption."""
    from sae_stability.figures.drawings import write_figure

    write_figure(
        figure=args.figure,
        table=args.table,
        style=args.style,
        outs=[args.svg, args.pdf, args.png],
        caption=args.caption,
    )


def summary(args: argparse.Namespace) -> None:
    """Key numbers of the study in words, for the report's first page."""
    from sae_stability.figures.summary import write_summary

    write_summary(
        study=args.study,
        base=args.base,
        about=args.about,
        overlaps=args.overlap,
        evaluations=args.evaluation,
        out=args.out,
    )


def info(args: argparse.Namespace) -> None:
    """Print what an SAE is."""
    from sae_stability.sae.info import describe

    print(describe(args.checkpoint))


def _check_threads(args: argparse.Namespace) -> None:
    """Of the verbs that compute."""
    if getattr(args, "threads", 1) < 1:
        raise StudyError(f"{args.verb}: --threads is {args.threads}; it must be 1 or more")


def _check_once_each(args: argparse.Namespace, names: tuple[str, ...], saes: int) -> None:
    """Flags that each SAE has one of, in order; left out for all, or given for each."""
    for name in names:
        given = getattr(args, name)
        if given and len(given) != saes:
            flag = name.replace("_", "-")
            raise StudyError(
                f"{args.verb}: --{flag} is given {len(given)} times for {saes} SAEs; give it once for each"
            )


def _chunk(text: str) -> int | str:
    return text if text == "heldout" else int(text)


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
