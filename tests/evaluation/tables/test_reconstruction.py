"""Quality of the codec, beside Opus and semantic tokens alone."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from asking import ask, utterance

from audiolm.audio.waveform import Audio
from audiolm.errors import CorpusError
from audiolm.evaluation.corpora import utterances
from audiolm.evaluation.options import ReconstructionConfig
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.tables import reconstruction, systems
from audiolm.evaluation.tables.opus import OpusResult
from audiolm.evaluation.tables.reconstruction import evaluate, opus_bitrates, visqol_mode
from audiolm.evaluation.tables.registry import EXPERIMENTS
from playing import play
from tiny import K, N, tiny_model

pytest.importorskip("pystoi")


@pytest.fixture(scope="module")
def lm():
    return tiny_model(kinds=())


class Visqol:
    """4.4 for equal sound, less for what differs."""

    mapper = "scripted"

    def __init__(self, mode):
        self.mode = mode

    def score(self, made, real):
        assert len(made.samples) == len(real.samples)
        return 4.4 - min(3.0, float(abs(made.samples - real.samples).max()))


class Opus:
    """Quieter than the recording, at nine tenths of the bitrate."""

    version = "opusenc 0"

    def __call__(self, audio, kilobits):
        return OpusResult(Audio(0.9 * audio.samples, 16_000), 0.9 * kilobits)


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch):
    monkeypatch.setattr(reconstruction, "Visqol", Visqol)
    monkeypatch.setattr(systems, "Opus", Opus)


@pytest.fixture
def corpus(corpus_folder):
    return corpus_folder(4, layout="librispeech", speakers=2, seconds=1.0)


def test_a_fine_stage_is_measured_on_true_coarse_codes(corpus, tmp_path):
    lm = tiny_model()
    section = {"levels": (2,), "opus": (), "semantic_decoder_minutes": 0}
    result = evaluate(ask(lm, corpus, tmp_path / "r" / "x", reconstruction=section))
    rows = {row[0]: row for row in result.tables[0].rows}
    assert rows["Fine stage on 2 true levels"][1] == rows["Codec, 2 levels"][1]
    assert result.metrics["visqol.fine"].count == 4
    # What it draws is heard: neither the two levels alone nor the recording's own four.
    measures = [result.metrics[f"mel_distance.{name}"].value for name in ("fine", "codec_2")]
    assert measures[0] != measures[1]


def test_every_version_of_every_recording_is_measured(lm, corpus, tmp_path):
    shares = []
    section = {"levels": (1, 4, 12), "opus": (6, 16), "semantic_decoder_minutes": 0}
    request = ask(lm, corpus, tmp_path / "r" / "x", reconstruction=section, progress=shares.append)
    result = evaluate(request)
    metrics = result.metrics
    versions = ["codec_1", "codec_4", "opus_6", "opus_16"]  # the codec has 4 levels
    names = {f"{m}.{v}" for v in versions for m in ("visqol", "stoi", "si_sdr", "mel_distance")}
    assert set(metrics) == names | {"visqol.itself"}
    assert metrics["visqol.itself"].value == pytest.approx(4.4)
    assert all(metric.count == 4 for metric in metrics.values())
    assert metrics["si_sdr.opus_6"].value > 50
    assert metrics["visqol.codec_4"].paper == 3.3
    assert metrics["visqol.codec_1"].paper is None
    rates = {row[0]: row[1] for row in result.tables[0].rows}
    assert rates == {
        "The recording itself (ceiling)": None,
        "Codec, 1 level": math.log2(N) * 50 / 1000,
        "Codec, 4 levels": 4 * math.log2(N) * 50 / 1000,
        "Opus, asked for 6 kbit/s": 5.4,
        "Opus, asked for 16 kbit/s": 14.4,
    }
    assert "scripted mapper, whose ceiling is 4.40" in result.tables[0].note
    assert "scripted mapper" in result.conditions["visqol"]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    assert all(path.exists() for path in result.plots)


def test_a_decoder_of_semantic_tokens_learns_from_what_is_not_measured(
    lm, corpus, tmp_path, monkeypatch
):
    stores = []
    original = reconstruction.train_semantic_decoder

    def train(codec, tokenizer, store, minutes, seed, progress):
        stores.append([recording.id for recording in store.recordings])
        return original(codec, tokenizer, store, 0.001, seed, progress)

    monkeypatch.setattr(reconstruction, "train_semantic_decoder", train)
    section = {"levels": (1,), "opus": (), "semantic_decoder_minutes": 1}
    shares = []
    out = tmp_path / "r" / "x"
    request = ask(lm, corpus, out, reconstruction=section, limit=2, progress=shares.append)
    result = evaluate(request)
    # The training is 0.4 of the part; then 2 recordings in 3 versions are measured.
    assert shares == sorted(shares)
    assert shares[-7:] == pytest.approx([0.4, *(0.4 + 0.1 * n for n in range(1, 7))])
    assert result.metrics["visqol.semantic"].count == 2
    assert result.metrics["visqol.semantic"].paper == 1.1
    assert len(stores[0]) == 2
    row = next(row for row in result.tables[0].rows if row[0] == "Semantic tokens alone")
    assert row[1] == round(math.log2(K) * 25 / 1000, 2)
    assert "2 other recordings, of the same speakers" in result.conditions["semantic decoder"]
    assert not [path for path in request.out.iterdir() if path.is_dir()]  # nothing is left packed


def test_where_everything_is_measured_there_is_nothing_to_learn_from(lm, corpus, tmp_path):
    section = {"levels": (1,), "opus": ()}
    result = evaluate(ask(lm, corpus, tmp_path / "r" / "x", reconstruction=section))
    assert "visqol.semantic" not in result.metrics
    assert "give more recordings" in result.conditions["semantic decoder"]


def test_without_opus_the_rest_is_measured(lm, corpus, tmp_path, monkeypatch):
    def absent():
        raise Skipped("Opus is compared where opusenc is installed", "install opus-tools")

    monkeypatch.setattr(systems, "Opus", absent)
    section = {"levels": (1,), "semantic_decoder_minutes": 0}
    result = evaluate(ask(lm, corpus, tmp_path / "r" / "x", reconstruction=section))
    assert "visqol.codec_1" in result.metrics
    assert "install opus-tools" in result.conditions["opus"]
    assert "visqol.semantic" not in result.metrics
    assert "semantic_decoder_minutes is 0" in result.conditions["semantic decoder"]


def test_it_is_done_again_once_opus_is_there(lm, corpus, tmp_path, monkeypatch):
    def absent():
        raise Skipped("Opus is compared where opusenc is installed", "install opus-tools")

    request = ask(lm, corpus, tmp_path / "r" / "x")
    there = EXPERIMENTS["reconstruction"].inputs_of(request)
    monkeypatch.setattr(systems, "Opus", absent)
    assert EXPERIMENTS["reconstruction"].inputs_of(request) != there
    unwanted = ask(lm, corpus, tmp_path / "r" / "x", reconstruction={"opus": ()})
    assert EXPERIMENTS["reconstruction"].inputs_of(unwanted) == {}


@pytest.mark.filterwarnings("ignore:.*there is only silence")
def test_silence_has_no_score_and_a_corpus_of_it_is_an_error(lm, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(
        Visqol, "score", lambda self, made, real: 4.0 if real.samples.any() else None
    )
    section = {"levels": (1,), "opus": (6,), "semantic_decoder_minutes": 0}
    silent = min(corpus.rglob("*.wav"))
    Audio(np.zeros(16_000, dtype=np.float32), 16_000).write(silent)
    request = ask(lm, corpus, tmp_path / "r" / "x", reconstruction=section)
    assert evaluate(request).metrics["visqol.codec_1"].count == 3
    for path in corpus.rglob("*.wav"):
        Audio(np.zeros(16_000, dtype=np.float32), 16_000).write(path)
    with pytest.raises(CorpusError, match="give recordings that are not silent"):
        evaluate(request)


def test_long_recordings_are_cut_and_the_number_is_limited(lm, corpus, tmp_path, monkeypatch):
    lengths = []
    monkeypatch.setattr(
        Visqol, "score", lambda self, made, real: lengths.append(made.seconds) or 4.0
    )
    section = {"levels": (), "opus": (), "semantic_decoder_minutes": 0, "longest": 0.5}
    evaluate(ask(lm, corpus, tmp_path / "r" / "x", reconstruction=section | {"recordings": 3}))
    assert lengths == [0.5] * 3
    evaluate(ask(lm, corpus, tmp_path / "r" / "x", reconstruction=section, limit=2))
    assert len(lengths) == 5


def test_the_mode_goes_by_the_recordings(tmp_path):
    speech = [utterance("a")]
    assert visqol_mode("auto", tmp_path, speech) == "speech"
    play(tmp_path, "b", 0, seconds=1.0)
    music = utterances(tmp_path)
    assert visqol_mode("auto", tmp_path, music) == "audio"
    assert visqol_mode("speech", tmp_path, music) == "speech"
    assert visqol_mode("audio", tmp_path, speech) == "audio"
    (tmp_path / "maestro-v3.0.0.csv").write_text("")
    assert visqol_mode("auto", tmp_path, speech) == "audio"


def test_of_music_there_is_neither_intelligibility_nor_a_score_of_the_papers(lm, tmp_path):
    play(tmp_path / "data", "a", 0, seconds=1.5)
    section = {"levels": (4,), "opus": (6,), "semantic_decoder_minutes": 0}
    result = evaluate(ask(lm, tmp_path / "data", tmp_path / "r" / "x", reconstruction=section))
    assert result.metrics["visqol.codec_4"].paper is None
    assert not [name for name in result.metrics if name.startswith("stoi")]
    (table,) = result.tables
    assert table.columns == ["Through", "kbit/s", "ViSQOL", "SI-SDR", "Mel distance"]
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert result.conditions["visqol"].startswith("audio mode")


def test_opus_of_music_is_asked_for_the_codecs_bitrates(lm):
    # A level of the tiny codec takes 5 bits 50 times a second: 0.25 kbit/s.
    assert opus_bitrates(ReconstructionConfig(), "speech", lm) == (6, 8, 12, 16, 24)
    assert opus_bitrates(ReconstructionConfig(), "audio", lm) == (4, 6, 12)
    large = SimpleNamespace(codec=SimpleNamespace(codebook_size=2**20, levels=9))  # 1 kbit/s
    config = ReconstructionConfig(levels=(1, 3, 9, 12))
    assert opus_bitrates(config, "audio", large) == (4, 6, 9, 12, 18)
    assert opus_bitrates(ReconstructionConfig(opus=(7.0,)), "audio", large) == (7,)


def test_recordings_of_a_moment_are_a_reason_to_skip(lm, corpus_folder, tmp_path):
    with pytest.raises(Skipped, match="no recording lasts 1 s or more"):
        evaluate(ask(lm, corpus_folder(2, seconds=0.5), tmp_path / "r" / "x"))
