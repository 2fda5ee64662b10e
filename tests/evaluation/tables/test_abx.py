"""ABX from an item file to metrics, and what it says of input that cannot be used."""

import numpy as np
import pytest
import torch
from asking import ask
from layouts import abx_items, record

from audiolm.audio.waveform import Audio
from audiolm.errors import CorpusError
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.tables import abx
from tiny import noise, tiny_model

MODEL = tiny_model()


def test_every_feature_has_its_errors(tmp_path):
    abx_items(tmp_path / "data")
    shares = []
    features = ("mfcc", "mel", "layer:1", "semantic", "codec")
    request = ask(
        MODEL,
        tmp_path / "data",
        tmp_path / "out",
        progress=shares.append,
        abx={"features": features, "levels": (1, 3)},
    )
    result = abx.evaluate(request)
    names = ("mfcc", "mel", "layer_1", "semantic", "codec_1", "codec_3")
    assert list(result.metrics) == [
        f"dev.{name}.{mode}" for name in names for mode in ("within", "across")
    ]
    for metric in result.metrics.values():
        assert 0 <= metric.low <= metric.value <= metric.high <= 100
        assert metric.unit == "%"
        assert metric.count == 24
    (table,) = result.tables
    assert len(table.rows) == len(names)
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1)
    assert "24 tokens of 4 recordings of 2 speakers" in result.conditions["dev.item"]
    assert all(plot.is_file() for plot in result.plots)


def test_features_are_asked_about_the_tokens_that_they_have_frames_of(tmp_path):
    path = abx_items(tmp_path / "data")
    lines = path.read_text().splitlines()
    # Too short for a step of 40 ms that is not the last: frames of these are in the mel alone.
    short = [
        f"{stem} {onset:.2f} {onset + 0.03:.2f} {'PQ'[round(10 * onset) % 2]} A B {stem[:3]}"
        for stem in ("100-0-0000", "101-1-0000")
        for onset in (2.5, 2.6, 2.7, 2.8)
    ]
    path.write_text("\n".join([*lines, *short]) + "\n")

    def metrics(*features):
        settings = {"features": features}
        request = ask(MODEL, tmp_path / "data", tmp_path / "out", abx=settings)
        return abx.evaluate(request).metrics

    together = metrics("mel", "semantic", "mfcc")
    assert together == metrics("mel") | metrics("semantic") | metrics("mfcc")
    counts = {name: metric.count for name, metric in together.items() if "within" in name}
    assert list(counts.values()) == [32, 24, 32]


def test_layers_are_drawn_as_a_curve(tmp_path):
    abx_items(tmp_path / "data")
    settings = {"features": ["layer:1", "layer:2"]}
    result = abx.evaluate(ask(MODEL, tmp_path / "data", tmp_path / "out", abx=settings))
    assert [plot.name for plot in result.plots] == ["dev.svg", "dev_layers.svg"]


def test_tokens_that_sound_alike_are_told_from_others(tmp_path):
    """P is a low hum and Q a high one, whoever speaks: no error."""
    path = abx_items(tmp_path / "data")
    time = np.arange(48_000) / 16_000
    for number, recording in enumerate(sorted(path.parent.rglob("*.wav"))):
        phone_q = np.floor((time - 0.05) / 0.4) % 2
        hum = 0.3 * np.sin(2 * np.pi * np.where(phone_q, 2500, 400) * time)
        hiss = noise(3.0, number).samples[: len(time)]
        Audio((hum + 0.01 * hiss).astype(np.float32), 16_000).write(recording)
    request = ask(MODEL, tmp_path / "data", tmp_path / "out", abx={"features": ["mfcc"]})
    result = abx.evaluate(request)
    assert result.metrics["dev.mfcc.within"].value == 0
    assert result.metrics["dev.mfcc.across"].value == 0


def test_one_seed_gives_one_result_and_a_limit_takes_fewer_recordings(tmp_path):
    abx_items(tmp_path / "data", speakers=3)

    def metrics(**about):
        request = ask(
            MODEL, tmp_path / "data", tmp_path / "out", abx={"features": ["mfcc"]}, **about
        )
        return abx.evaluate(request).metrics

    assert metrics(seed=1) == metrics(seed=1)
    assert metrics(limit=3)["dev.mfcc.across"].count == 18


def test_the_global_generator_is_left_alone(tmp_path):
    abx_items(tmp_path / "data")
    before = torch.get_rng_state()
    abx.evaluate(ask(MODEL, tmp_path / "data", tmp_path / "out", abx={"features": ["mel"]}))
    assert torch.equal(before, torch.get_rng_state())


def test_several_item_files_are_told_apart(tmp_path):
    abx_items(tmp_path / "data" / "dev")
    path = abx_items(tmp_path / "data" / "test", speakers=1)
    path.rename(path.with_name("test.item"))
    request = ask(MODEL, tmp_path / "data", tmp_path / "out", abx={"features": ["mel"]})
    metrics = abx.evaluate(request).metrics
    # Of a single speaker there is no other to say X: that metric is absent.
    assert list(metrics) == ["dev.mel.within", "dev.mel.across", "test.mel.within"]


def test_an_item_file_may_lie_elsewhere(tmp_path):
    path = abx_items(tmp_path / "data")
    elsewhere = path.rename(tmp_path / "phones.item")
    settings = {"features": ["mel"], "items": str(elsewhere)}
    request = ask(MODEL, tmp_path / "data", tmp_path / "out", abx=settings)
    assert "phones.mel.within" in abx.evaluate(request).metrics


def test_without_an_item_file_it_is_skipped(tmp_path):
    record(tmp_path / "data" / "a.wav", 0.5, 0)
    with pytest.raises(Skipped, match=r"no item file .* --set abx.items=FILE"):
        abx.evaluate(ask(MODEL, tmp_path / "data", tmp_path / "out"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda root: next(root.rglob("100-0-0000.wav")).unlink(), "no recording of 100-0-0000"),
        (lambda root: (root / "dev.item").write_text("#file\n1 2 3\n"), "line 2"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, change, says):
    abx_items(tmp_path / "data")
    change(tmp_path / "data")
    with pytest.raises(CorpusError, match=says):
        abx.evaluate(ask(MODEL, tmp_path / "data", tmp_path / "out"))


def test_tokens_without_a_pair_to_compare_are_named(tmp_path):
    path = abx_items(tmp_path / "data")
    path.write_text(path.read_text().replace(" Q A B", " P A B"))
    with pytest.raises(CorpusError, match="no speaker says two phones in one context"):
        abx.evaluate(ask(MODEL, tmp_path / "data", tmp_path / "out", abx={"features": ["mel"]}))


def test_an_item_file_that_is_not_there_is_named(tmp_path):
    request = ask(MODEL, tmp_path, tmp_path / "out", abx={"items": str(tmp_path / "no.item")})
    with pytest.raises(CorpusError, match=r"no\.item: there is no such file"):
        abx.evaluate(request)


@pytest.mark.parametrize("cutoff", [3000, 5500])
def test_the_highest_frequency_is_that_of_a_lossy_format(tmp_path, cutoff):
    samples = np.random.default_rng(0).standard_normal(16_000)
    spectrum = np.fft.rfft(samples)
    spectrum[round(cutoff) :] = 0
    low = 0.1 * np.fft.irfft(spectrum)
    Audio(low.astype(np.float32), 16_000).write(tmp_path / "a.wav")
    found = abx.highest_frequency([tmp_path / "a.wav"])
    assert found == pytest.approx(cutoff, abs=150)
