import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiolm.codec import QuantizerConfig, SoundStreamConfig, SpectralConfig, build_codec
from audiolm.codec.causal import StreamingState
from audiolm.errors import AudioError

QUANTIZER = QuantizerConfig(levels=3, codebook_size=16)
CONFIGS = {
    "soundstream": SoundStreamConfig(channels=4, dim=8, quantizer=QUANTIZER),
    "spectral": SpectralConfig(
        width=16, encoder_blocks=2, decoder_blocks=2, refine_width=8, dim=8, quantizer=QUANTIZER
    ),
    "long windows": SpectralConfig(
        width=16,
        encoder_blocks=2,
        decoder_blocks=2,
        refine_width=8,
        dim=8,
        quantizer=QUANTIZER,
        window=640,
    ),
    "harmonic": SpectralConfig(
        width=16,
        encoder_blocks=2,
        decoder_blocks=2,
        refine_width=8,
        dim=8,
        quantizer=QUANTIZER,
        harmonic=True,
    ),
}


def codec(kind):
    torch.manual_seed(0)
    model = build_codec(CONFIGS[kind]).eval()
    if kind == "harmonic":  # voices that come and go, and pulses that are listened to
        torch.nn.init.normal_(model.pitch_head.out.weight, std=0.1)
        torch.nn.init.normal_(model.read_pulses.weight, std=0.02)
    return model


def waveform(rows, samples, seed=1):
    return 0.3 * torch.randn(rows, samples, generator=torch.Generator().manual_seed(seed))


def chunked(stream, data, sizes, dim):
    """Push `data` along its last axis in chunks of `sizes`, repeated as often as it takes."""
    parts, at, turn = [], 0, 0
    while at < data.shape[-1]:
        size = sizes[turn % len(sizes)]
        parts.append(stream.push(data[..., at : at + size]))
        at, turn = at + size, turn + 1
    return torch.cat([*parts, stream.flush()], dim=dim)


@pytest.mark.parametrize("kind", CONFIGS)
@settings(max_examples=15, deadline=None)
@given(
    length=st.integers(1, 3000),
    sizes=st.lists(st.sampled_from([0, 7, 79, 239, 320, 321, 1000, 2500]), min_size=1, max_size=4),
)
def test_chunks_encode_to_the_codes_of_the_whole(kind, length, sizes):
    model, x = codec(kind), waveform(2, length)
    sizes = [*sizes, 100]  # so that it comes to an end
    codes = chunked(model.encoder_stream(), x, sizes, dim=2)
    assert torch.equal(codes, model.encode(x))


@pytest.mark.parametrize("kind", CONFIGS)
@settings(max_examples=15, deadline=None)
@given(
    frames=st.integers(1, 12),
    levels=st.integers(1, 3),
    sizes=st.lists(st.integers(0, 5), min_size=1, max_size=4),
)
def test_chunks_decode_to_the_waveform_of_the_whole(kind, frames, levels, sizes):
    model = codec(kind)
    codes = torch.randint(16, (2, levels, frames), generator=torch.Generator().manual_seed(2))
    made = chunked(model.decoder_stream(), codes, [*sizes, 1], dim=1)
    assert made.shape == (2, frames * 320)
    torch.testing.assert_close(made, model.decode(codes), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", CONFIGS)
def test_sample_by_sample_a_frame_comes_as_soon_as_its_look_ahead_is_there(kind):
    model, x = codec(kind), waveform(1, 700)
    stream = model.encoder_stream()
    after = [i + 1 for i in range(700) if stream.push(x[:, i : i + 1]).shape[2]]
    expected = [320 + model.look_ahead, 640 + model.look_ahead]
    assert after == [samples for samples in expected if samples <= 700]
    assert stream.flush().shape == (1, 3, 3 - len(after))


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_stream_needs_constant_memory(kind):
    model, x = codec(kind), waveform(1, 16000)
    encoder, decoder = model.encoder_stream(), model.decoder_stream()

    def held():
        tails = [*encoder._state._tails.values(), *decoder._state._tails.values()]
        assert not any(tail.requires_grad for tail in tails)
        return sum(tail.untyped_storage().nbytes() for tail in tails)

    decoder.push(encoder.push(x[:, :4000]))
    first = held()
    for at in range(4000, 16000, 4000):
        decoder.push(encoder.push(x[:, at : at + 4000]))
    assert held() == first
    assert encoder._pending.shape[1] < 320 + model.look_ahead


@pytest.mark.parametrize("kind", CONFIGS)
def test_two_streams_of_one_codec_do_not_meet(kind):
    model = codec(kind)
    x, y = waveform(1, 1600, seed=3), waveform(1, 1600, seed=4)
    one, two = model.encoder_stream(), model.encoder_stream()
    pairs = zip(x.split(400, 1), y.split(400, 1), strict=True)
    parts = [(one.push(a), two.push(b)) for a, b in pairs]
    parts.append((one.flush(), two.flush()))
    for whole, chunks in zip((x, y), zip(*parts, strict=True), strict=True):
        assert torch.equal(torch.cat(chunks, dim=2), model.encode(whole))


@pytest.mark.parametrize("kind", CONFIGS)
def test_nothing_in_nothing_out_and_after_the_end_an_error(kind):
    model = codec(kind)
    streams = (
        (model.encoder_stream(), (1, 3, 0), waveform(1, 320)),
        (model.decoder_stream(), (1, 0), torch.zeros(1, 3, 1, dtype=torch.int64)),
    )
    for stream, nothing, more in streams:
        assert stream.flush().shape == nothing
        with pytest.raises(AudioError, match="ended by flush"):
            stream.flush()
        with pytest.raises(AudioError, match="ended by flush"):
            stream.push(more)


def test_streaming_state_puts_the_past_before_the_present_of_each_layer():
    memory, layer, other = StreamingState(), torch.nn.Identity(), torch.nn.Identity()
    x = torch.arange(1.0, 7.0)[None]
    assert memory.extend(layer, x[:, :1], 2, dim=1).tolist() == [[0, 0, 1]]
    assert memory.extend(layer, x[:, 1:4], 2, dim=1).tolist() == [[0, 1, 2, 3, 4]]
    assert memory.extend(other, x[:, 4:5], 1, dim=1).tolist() == [[0, 5]]
    assert memory.extend(layer, x[:, 4:5], 2, dim=1).tolist() == [[3, 4, 5]]
    assert memory.extend(layer, x[:, 5:], 0, dim=1).tolist() == [[6]]


@settings(max_examples=30, deadline=None)
@given(
    steps=st.integers(1, 40),
    restarts=st.lists(st.booleans(), min_size=40, max_size=40),
    size=st.integers(1, 40),
)
def test_sums_begin_anew_at_a_restart_and_go_on_from_chunk_to_chunk(steps, restarts, size):
    layer = torch.nn.Identity()
    x = torch.rand(1, steps, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    restart = torch.tensor([restarts[:steps]])
    expected, total = [], 0.0
    for i in range(steps):
        total = 0.0 if restart[0, i] or i == 0 else total + float(x[0, i])
        expected.append(total)
    memory, made = StreamingState(), []
    for at in range(0, steps, size):
        made.append(memory.accumulate(layer, x[:, at : at + size], restart[:, at : at + size]))
    difference = torch.cat(made, 1)[0] - torch.tensor(expected, dtype=torch.double)
    assert float((difference - difference.round()).abs().max()) < 1e-9  # they count modulo 1
