"""A store of tokens in shares: the same shards in every order, and what is missing said."""

import itertools
import json
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiolm.data.corpus import Recording
from audiolm.data.shares import (
    Share,
    begin,
    check,
    divide,
    finish,
    refuse_something_else,
    shares_of,
)
from audiolm.data.tokens import TokenFormat, TokenStore, shard_path
from audiolm.errors import ConfigurationError, CorpusError

FORMAT = TokenFormat(semantic_fingerprint="s" * 64, clusters=20, shard_size=2)
ROWS = [Recording(f"r{i}", Path(f"r{i}.wav"), 0.04 * (1 + i * i % 7)) for i in range(9)]


def write_share(folder: Path, share: Share, format: TokenFormat = FORMAT) -> None:
    """Every id of recording i is i; only its first and last step are silent."""
    writer = begin(folder, ROWS, format, share)
    for shard in writer.missing():
        steps = [(i, round(ROWS[i].seconds * 25)) for i in writer.members(shard)]
        silent = [np.isin(np.arange(count), (0, count - 1)) for _, count in steps]
        writer.write(shard, [np.full(count, i) for i, count in steps], None, silent)


def contents(folder: Path) -> dict[str, bytes]:
    """What makes the store; what says how it was made is left out."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.name not in ("shares.json", "lock")
    }


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1000), max_size=40), st.integers(1, 9))
def test_every_shard_is_in_one_share_and_none_has_much_more_than_another(seconds, shares) -> None:
    dealt = divide(seconds, shares)
    assert len(dealt) == shares
    assert sorted(itertools.chain(*dealt)) == list(range(len(seconds)))
    totals = [sum(seconds[shard] for shard in shards) for shards in dealt]
    # Longest first: whoever has most was the least before its last, the shortest it has.
    assert max(totals) - min(totals) <= max(seconds, default=0) + 1e-6


def test_the_longest_are_dealt_out_first() -> None:
    assert divide([5, 1, 4, 3, 3], 2) == [[0, 4], [1, 2, 3]]


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/0", "a/b", "-1/4", "1/4/2", "1.0/2", ""])
def test_a_share_that_is_none(text) -> None:
    with pytest.raises(ConfigurationError, match="is no share; give I/N"):
        Share.parse(text)


@pytest.mark.parametrize("order", list(itertools.permutations([1, 2, 3])))
def test_shares_in_any_order_make_the_store_of_one_process(order, tmp_path) -> None:
    write_share(tmp_path / "one", Share())
    assert finish(tmp_path / "one").complete
    for number in order:
        write_share(tmp_path / "three", Share(number, 3))
        left = finish(tmp_path / "three")
        assert left.complete is (number == order[-1])
        assert left.complete is (tmp_path / "three" / "tokens.json").exists()
    assert contents(tmp_path / "one") == contents(tmp_path / "three")
    store = TokenStore(tmp_path / "three")
    assert [store.semantic(i).unique().tolist() for i in range(9)] == [[i] for i in range(9)]
    assert store.repetition()["longest_loops"][0] == 4  # the longest has five equal ids


def test_shares_that_end_at_the_same_moment(tmp_path) -> None:
    for number in (1, 2, 3, 4):
        write_share(tmp_path, Share(number, 4))
    at_once, failed = threading.Barrier(6), []

    def end() -> None:
        at_once.wait()
        try:
            assert finish(tmp_path).complete
            TokenStore(tmp_path)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=end) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(TokenStore(tmp_path)) == 9


def test_what_is_missing_is_said_with_the_shares_that_make_it(tmp_path) -> None:
    write_share(tmp_path, Share(2, 3))
    of_share = shares_of(ROWS, FORMAT, 3)
    left = check(tmp_path)
    assert left.absent == {1: of_share[0], 3: of_share[2]}
    assert "missing" in left.told()
    assert "--shard 1/3, 3/3" in left.told()
    write_share(tmp_path, Share(1, 3))
    write_share(tmp_path, Share(3, 3))
    assert check(tmp_path).complete


@pytest.mark.parametrize("damage", ["cut", "of another store", "fewer recordings"])
def test_a_damaged_shard_is_found_and_made_again(damage, tmp_path) -> None:
    write_share(tmp_path, Share(1, 2))
    write_share(tmp_path, Share(2, 2))
    shard = shares_of(ROWS, FORMAT, 2)[1][0]
    path = shard_path(tmp_path, shard)
    whole = path.read_bytes()
    if damage == "cut":
        path.write_bytes(whole[:-5])
    elif damage == "of another store":
        path.write_bytes(whole.replace(b'"key":"', b'"kex":"'))
    else:
        path.write_bytes(shard_path(tmp_path, 4).read_bytes())  # the last: one recording
        assert shard != 4
    assert check(tmp_path).damaged == {2: [shard]}
    assert not finish(tmp_path).complete
    assert not (tmp_path / "tokens.json").exists()
    if damage != "cut":
        path.unlink()
    write_share(tmp_path, Share(2, 2))
    assert finish(tmp_path).complete
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("rows", "format", "share", "message"),
    [
        (ROWS, {"semantic_fingerprint": "t" * 64}, Share(2, 3), "begun with another model"),
        (ROWS, {"codec_fingerprint": "c" * 64}, Share(2, 3), "another model .codec none, now ccc"),
        (ROWS, {"shard_size": 3}, Share(2, 3), "not 3; give --shard-size 2"),
        (ROWS[1:], {}, Share(2, 3), r"other recordings \(9, now 8\)"),
        ([Recording("r0", Path("r0.wav"), 9.0), *ROWS[1:]], {}, Share(2, 3), "changed since"),
        (ROWS, {}, Share(2, 4), r"begun in 3 shares, not 4; give --shard I/3, or.* delete"),
    ],
)
def test_what_differs_from_what_a_folder_was_begun_with(
    rows, format, share, message, tmp_path
) -> None:
    write_share(tmp_path, Share(1, 3))
    before = contents(tmp_path) | {"": (tmp_path / "shares.json").read_bytes()}
    with pytest.raises(CorpusError, match=message):
        begin(tmp_path, rows, FORMAT.model_copy(update=format), share)
    assert contents(tmp_path) | {"": (tmp_path / "shares.json").read_bytes()} == before


def test_divided_anew_once_the_plan_is_deleted(tmp_path) -> None:
    write_share(tmp_path, Share(1, 3))
    (tmp_path / "shares.json").unlink()
    for number in (1, 2):
        write_share(tmp_path, Share(number, 2))
    assert finish(tmp_path).complete


def test_a_folder_with_other_things_is_left_alone(tmp_path) -> None:
    refuse_something_else(tmp_path)
    (tmp_path / "thesis.txt").write_text("years")
    with pytest.raises(CorpusError, match=r"holds something else than tokens \(thesis"):
        refuse_something_else(tmp_path)
    with pytest.raises(CorpusError, match="is a file"):
        refuse_something_else(tmp_path / "thesis.txt")


def test_a_folder_in_which_nothing_was_begun(tmp_path) -> None:
    with pytest.raises(CorpusError, match="no tokens were begun in it"):
        check(tmp_path)
    (tmp_path / "shares.json").write_text(json.dumps({"format_version": 9}))
    with pytest.raises(CorpusError, match="another version"):
        check(tmp_path)
    (tmp_path / "shares.json").write_text(json.dumps({"format_version": 1, "shares": 3}))
    with pytest.raises(ConfigurationError, match=r"shares\.json: recordings: Field required"):
        check(tmp_path)
