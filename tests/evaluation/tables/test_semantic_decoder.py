"""A decoder from semantic tokens alone."""

import pytest
import torch

from audiolm.codec.contract import Codec
from audiolm.codec.losses import MelLoss, MelLossConfig
from audiolm.data.corpus import open_corpus
from audiolm.data.store import DirectStore
from audiolm.errors import ConfigurationError
from audiolm.evaluation.tables import semantic_decoder as module
from audiolm.evaluation.tables.semantic_decoder import SemanticDecoder, train_semantic_decoder
from tiny import K, tiny_model


@pytest.fixture(scope="module")
def lm():
    return tiny_model(kinds=())


def test_a_token_is_two_frames_of_sound(lm):
    decoder = SemanticDecoder(lm.codec, K).eval()
    ids = torch.randint(0, K, (2, 7))
    out = decoder(ids)
    assert out.shape == (2, 7 * 640)
    changed = ids.clone()
    changed[:, 4:] = (ids[:, 4:] + 1) % K
    again = decoder(changed)
    assert torch.equal(out[:, : 4 * 640], again[:, : 4 * 640])
    assert not torch.allclose(out[:, 4 * 640 : 5 * 640], again[:, 4 * 640 : 5 * 640])


def test_it_starts_from_a_copy_of_the_codec(lm):
    decoder = SemanticDecoder(lm.codec, K)
    mine, theirs = decoder.codec.state_dict(), lm.codec.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert decoder.codec is not lm.codec


def test_training_brings_it_nearer_and_leaves_the_model_alone(lm, corpus_folder, monkeypatch):
    monkeypatch.setattr(module, "MANY_STEPS", 30)
    monkeypatch.setattr(module, "BATCH_SIZE", 2)
    store = DirectStore(open_corpus(corpus_folder(2, seconds=2.0)).recordings)
    waveform = torch.from_numpy(store.crop(0, 0, 32_000))[None]
    ids = lm.semantic.encode(waveform)
    loss, before = MelLoss(MelLossConfig()), lm.codec.fingerprint()
    state = torch.get_rng_state()
    shares = []
    decoder, fitted = train_semantic_decoder(
        lm.codec, lm.semantic, store, minutes=5, seed=0, progress=shares.append
    )
    assert fitted.steps == len(shares) == 30
    assert shares == sorted(shares) and shares[-1] == 1
    assert torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():
        torch.manual_seed(0)  # the first weights of the one that was trained
        untrained = loss(SemanticDecoder(lm.codec, K).eval()(ids), waveform)
        trained = loss(decoder(ids), waveform)
    assert trained < 0.9 * untrained
    assert lm.codec.fingerprint() == before


def test_a_codec_of_another_kind_is_an_error():
    class Other(Codec):
        encode = decode = embed = encoder_stream = decoder_stream = codes_fingerprint = None

    with pytest.raises(ConfigurationError, match="semantic_decoder_minutes to 0"):
        SemanticDecoder(Other(), K)
