"""`audiolm tokenize`: a corpus as tokens on disk, in shares that any machine can make."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiolm.cli.options import use_threads

if TYPE_CHECKING:
    from audiolm.data.shares import Missing, Share


@click.command("tokenize")
@click.argument("folder", metavar="[FOLDER]", required=False, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Where tokens go.")
@click.option("--model", default="speech", show_default=True, help="Whose codec and tokenizer.")
@click.option("--shard", metavar="I/N", help="Only share I of N, counted from 1.")
@click.option("--check", is_flag=True, help="Make nothing: say what is missing (exit code 2).")
@click.option("--ray", metavar="ADDRESS", help="On a Ray cluster: auto, host:port, or local.")
@click.option(
    "--actors", type=click.IntRange(1), default=8, show_default=True, help="With --ray, at most."
)
@click.option(
    "--batch-seconds",
    type=click.FloatRange(1, 86_400),
    default=240.0,
    show_default=True,
    help="Sound in one batch.",
)
@click.option(
    "--shard-size",
    type=click.IntRange(1),
    default=256,
    show_default=True,
    help="Recordings in one file: what is lost at most when it is stopped.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.")
@click.option("--quiet", is_flag=True, help="No progress, no notes.")
@click.option("--json", "as_json", is_flag=True, help="A summary as one JSON object on stdout.")
def command(
    folder: Path | None,
    out: Path,
    model: str,
    shard: str | None,
    check: bool,
    ray: str | None,
    actors: int,
    batch_seconds: float,
    shard_size: int,
    device: str,
    threads: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Write the recordings in FOLDER as the tokens that a model's codec and tokenizer make of them.

    FOLDER may hold recordings, tar files of them (webdataset), or Lhotse Shar; or it is a lhotse
    manifest. With --shard, or under torchrun, each process makes one share; all write into one
    folder, and the last one to end makes it whole, whichever that is. The same command goes on
    where it was stopped.
    """
    if check:
        _check(folder, out, quiet=quiet, as_json=as_json)
        return
    if folder is None:
        raise click.UsageError("Missing argument 'FOLDER'")
    share = _share(shard)
    if ray is not None and share.of > 1:
        raise click.UsageError("--ray and --shard: Ray divides the work itself; leave one out")

    from torch import get_num_threads
    from tqdm import tqdm

    from audiolm.data.corpus import open_corpus
    from audiolm.data.shares import begin, finish, refuse_something_else
    from audiolm.pretrained import choose_device, find
    from audiolm.training.distributed import own_gpu
    from audiolm.training.ray_pool import PoolSettings, load_parts, tokenize_on_ray
    from audiolm.training.tokenizing import TokenizingConfig, write_shard

    if threads:
        use_threads(threads)
    refuse_something_else(out)
    if ray is None:
        target = own_gpu(choose_device(device))
    else:  # the actors compute, perhaps on a GPU that this machine has not
        target = choose_device("cpu")
        device = choose_device(device).type if device == "auto" else device
    place = find(model)
    config = TokenizingConfig(batch_seconds=batch_seconds, shard_size=shard_size)
    parts = load_parts(place, target, config)  # what cannot be used is told before the long walk
    corpus = open_corpus(folder, out / "headers.jsonl")
    writer = begin(out, corpus.recordings, parts.format(), share)
    missing = writer.missing()
    unreadable = [reason for _, reason in corpus.skipped]
    with tqdm(
        total=len(missing), desc=f"share {share}", file=sys.stderr, disable=True if quiet else None
    ) as bar:
        if ray is not None:
            settings = PoolSettings(
                out.absolute(), place.absolute(), device, config, get_num_threads(), actors
            )
            unreadable += tokenize_on_ray(ray, writer, settings, bar.update)
        else:
            for number in missing:
                unreadable += write_shard(parts, writer, number, target, get_num_threads())
                bar.update()
    left = finish(out)
    if not quiet:
        for reason in unreadable[:20]:
            click.echo(f"left out: {reason}", err=True)
        if len(unreadable) > 20:
            click.echo(f"left out: {len(unreadable) - 20} more recordings", err=True)
    report = {
        "tokens": str(out),
        "share": str(share),
        "shards": len(writer.shards),
        "written": len(missing),
        "left_out": len(unreadable),
        **_report(left),
    }
    if as_json:
        click.echo(json.dumps(report))
    elif not quiet:
        state = "complete" if left.complete else left.told()
        click.echo(f"{out}: share {share} is done, {len(missing)} shards written; {state}")


def _check(folder: Path | None, out: Path, *, quiet: bool, as_json: bool) -> None:
    """Say what a store still lacks.

    Raises:
        CorpusError: naming what, if anything.
    """
    from audiolm.data.corpus import open_corpus
    from audiolm.data.manifest import read_recordings
    from audiolm.data.shares import finish
    from audiolm.errors import CorpusError

    left = finish(out)
    if as_json:
        click.echo(json.dumps({"tokens": str(out), **_report(left)}))
    if not left.complete:
        raise CorpusError(f"{out}: {left.told()}")
    if folder is not None:
        here = {recording.id for recording in open_corpus(folder).recordings}
        there = {recording.id for recording in read_recordings(out / "manifest.jsonl")}
        if here != there:
            raise CorpusError(
                f"{out}: is of {len(there)} recordings, {len(here - there)} of the {len(here)} in "
                f"{folder} are not among them; write the tokens into another folder"
            )
    if not (quiet or as_json):
        click.echo(f"{out}: complete, {left.shards} shards")


def _share(shard: str | None) -> "Share":
    """The share that was asked for: by `--shard`, else by torchrun's variables, else all."""
    from audiolm.data.shares import Share
    from audiolm.training.distributed import rank_and_size

    if shard is not None:
        return Share.parse(shard)
    rank, size = rank_and_size()
    return Share.parse(f"{rank + 1}/{size}")


def _report(left: "Missing") -> dict[str, Any]:
    return {
        "complete": left.complete,
        "shares": left.shares,
        "missing": {str(share): shards for share, shards in left.absent.items()},
        "damaged": {str(share): shards for share, shards in left.damaged.items()},
    }
