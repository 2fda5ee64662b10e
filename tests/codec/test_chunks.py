"""Recordings through a codec in chunks: as long, and the same, as all at once."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiolm.codec import QuantizerConfig, SoundStreamConfig, SpectralConfig, build_codec
from audiolm.codec import chunks as chunks_module
from audiolm.codec.chunks import decode_in_chunks, encode_in_chunks, reconstruct_chunks
from audiolm.errors import AudioError, ConfigurationError

QUANTIZER = QuantizerConfig(levels=3, codebook_size=16)
CONFIGS = {
    "soundstream": SoundStreamConfig(channels=4, dim=8, quantizer=QUANTIZER),
    "spectral": SpectralConfig(
        width=16, encoder_blocks=2, decoder_blocks=2, refine_width=8, dim=8, quantizer=QUANTIZER
    ),
}


@pytest.fixture(scope="module", params=CONFIGS)
def codec(request):
    torch.manual_seed(0)
    return build_codec(CONFIGS[request.param]).eval()


@pytest.fixture
def short_chunks(monkeypatch):
    """Chunks of 1600 samples, so that short recordings take many."""
    monkeypatch.setattr(chunks_module, "CHUNK_SAMPLES", 1600)
    monkeypatch.setattr(chunks_module, "CHUNK_FRAMES", 5)


def noise(samples: int, rows: int | None = None) -> torch.Tensor:
    shape = (samples,) if rows is None else (rows, samples)
    return 0.3 * torch.randn(shape, generator=torch.Generator().manual_seed(1))


@settings(max_examples=15, deadline=None)
@given(
    sizes=st.lists(st.sampled_from([0, 1, 319, 320, 321, 1000, 4001]), min_size=1, max_size=5),
    levels=st.sampled_from([None, 1, 2, 3]),
)
def test_any_chunks_give_what_all_at_once_gives_to_the_sample(codec, sizes, levels):
    whole = noise(sum(sizes))
    given_chunks = whole.split(sizes)
    made = list(reconstruct_chunks(codec, (chunk.numpy() for chunk in given_chunks), levels))
    assert all(chunk.dtype == np.float32 and chunk.ndim == 1 for chunk in made)
    together = np.concatenate([np.zeros(0, np.float32), *made])
    assert len(together) == len(whole)
    if len(whole):
        expected = codec.decode(codec.encode(whole[None], levels))[0, : len(whole)]
        np.testing.assert_allclose(together, expected.detach().numpy(), atol=1e-4, rtol=0)


def test_one_long_chunk_is_cut(codec, short_chunks):
    whole = noise(9000)
    made = list(reconstruct_chunks(codec, [whole]))
    assert len(made) >= 5 and max(map(len, made)) <= 1920
    expected = codec.decode(codec.encode(whole[None]))[0, :9000].detach().numpy()
    np.testing.assert_allclose(np.concatenate(made), expected, atol=1e-4, rtol=0)


def test_chunks_are_read_as_they_are_asked_for(codec):
    read = []

    def recording():
        for number in range(5):
            read.append(number)
            yield noise(3200).numpy()

    made = reconstruct_chunks(codec, recording())
    assert read == []
    next(made)
    assert read == [0]


@settings(max_examples=10, deadline=None)
@given(samples=st.sampled_from([1, 1599, 1600, 1601, 1919, 3200, 8001]))
def test_encoding_and_decoding_in_chunks_equal_all_at_once(codec, samples):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks_module, "CHUNK_SAMPLES", 1600)
        patch.setattr(chunks_module, "CHUNK_FRAMES", 5)
        x = noise(samples, rows=2)
        for levels in (None, 2):
            codes = encode_in_chunks(codec, x, levels)
            assert torch.equal(codes, codec.encode(x, levels))
        made = decode_in_chunks(codec, codes)
    assert made.shape == (2, codes.shape[2] * 320)
    torch.testing.assert_close(made, codec.decode(codes), atol=1e-4, rtol=0)


def test_read_only_arrays_and_tensors_with_gradients_are_samples_too(codec):
    samples = noise(700).numpy()
    samples.setflags(write=False)
    tensor = noise(700).requires_grad_()
    a, b = (np.concatenate(list(reconstruct_chunks(codec, [x]))) for x in (samples, tensor))
    assert np.array_equal(a, b)


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        (np.zeros((2, 5)), r"\(T,\), got float64 of \(2, 5\)"),
        (np.array(0.5), r"\(T,\), got float64 of \(\)"),
        (np.array(["a", "b"]), r"numbers of shape \(T,\)"),
        (np.array([0.0, np.nan]), "NaN or infinite"),
        (torch.tensor([np.inf]), "NaN or infinite"),
    ],
)
def test_what_are_no_samples_is_refused(codec, chunk, message):
    with pytest.raises(AudioError, match=message):
        list(reconstruct_chunks(codec, [chunk]))


@pytest.mark.parametrize("levels", [0, 4, True, -1, None])
def test_levels_are_checked_before_anything_is_read(codec, levels):
    if levels is None:
        reconstruct_chunks(codec, iter([]))
        return
    with pytest.raises(ConfigurationError, match="asked of a codec with 3; give 1 to 3"):
        reconstruct_chunks(codec, iter([]), levels)


def test_the_callers_grad_mode_is_not_touched_between_chunks(codec):
    for chunk in reconstruct_chunks(codec, [noise(3200), noise(3200)]):
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
        assert chunk.flags.writeable
