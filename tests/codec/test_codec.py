"""What every codec of the package answers to, whatever its kind."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from audiolm.codec import CodecConfig, SoundStream, SpectralCodec, build_codec, exported
from audiolm.codec.causal import StreamingState
from audiolm.configuration import Configuration, parse
from audiolm.errors import ConfigurationError

QUANTIZER = {"levels": 3, "codebook_size": 16}
CONFIGS = {
    "soundstream": {"channels": 4, "dim": 8, "quantizer": QUANTIZER},
    "spectral": {
        "width": 16,
        "encoder_blocks": 2,
        "decoder_blocks": 2,
        "refine_width": 16,
        "refine_blocks": 1,
        "dim": 8,
        "quantizer": QUANTIZER,
    },
}
KINDS = pytest.mark.parametrize("kind", CONFIGS)


class Whole(Configuration):
    codec: CodecConfig


def config(kind, **settings_):
    data = {"codec": {"kind": kind, **CONFIGS[kind], **settings_}}
    return parse(Whole, data, "here").codec


def codec(kind):
    torch.manual_seed(0)
    return build_codec(config(kind)).eval()


def waveform(rows, samples, seed=1):
    return 0.3 * torch.randn(rows, samples, generator=torch.Generator().manual_seed(seed))


def test_kind_chooses_the_network():
    assert isinstance(codec("soundstream"), SoundStream)
    assert isinstance(codec("spectral"), SpectralCodec)


@KINDS
def test_an_unknown_key_names_the_nearest_known_one(kind):
    with pytest.raises(ConfigurationError, match=r"quantiser; did you mean quantizer\?"):
        config(kind, quantiser=1)


@KINDS
def test_the_configuration_survives_json(kind):
    whole = Whole(codec=config(kind))
    assert Whole.model_validate_json(whole.model_dump_json()) == whole


def test_defaults_are_the_papers():
    model = build_codec(parse(Whole, {"codec": {"kind": "soundstream"}}, "here").codec)
    assert (model.levels, model.codebook_size, model.hop, model.sample_rate) == (
        12,
        1024,
        320,
        16000,
    )
    assert model.config.strides == (2, 4, 5, 8) and model.look_ahead == 0


@KINDS
@settings(max_examples=20, deadline=None)
@given(rows=st.integers(1, 2), length=st.integers(0, 1500), levels=st.integers(1, 3))
def test_shapes_for_any_length(kind, rows, length, levels):
    model = codec(kind)
    frames = -(-length // 320)
    codes = model.encode(waveform(rows, length), levels)
    assert codes.shape == (rows, levels, frames) and codes.dtype == torch.int64
    assert ((codes >= 0) & (codes < 16)).all()
    assert model.embed(codes).shape == (rows, frames, 8)
    decoded = model.decode(codes)
    assert decoded.shape == (rows, frames * 320) and decoded.dtype == torch.float32


@KINDS
@settings(max_examples=10, deadline=None)
@given(length=st.integers(1, 1500))
def test_the_end_is_padded_with_silence(kind, length):
    model, x = codec(kind), waveform(1, length)
    longer = torch.cat([x, torch.zeros(1, 1000)], dim=1)
    codes = model.encode(x)
    assert torch.equal(codes, model.encode(longer)[:, :, : codes.shape[2]])


@KINDS
def test_a_frame_depends_on_no_sample_past_its_look_ahead_and_on_the_last_before(kind):
    model = codec(kind)
    x = waveform(1, 3200)
    padded = torch.nn.functional.pad(x, (0, model.look_ahead))

    def vectors(samples):
        return model.analyse(samples, StreamingState())

    with torch.no_grad():
        before = vectors(padded)
        first_unseen = 5 * 320 + model.look_ahead  # by frame 4, the fifth
        late, last = padded.clone(), padded.clone()
        late[:, first_unseen:] += 1.0
        last[:, first_unseen - 40 : first_unseen] += 1.0  # its window has faded out at the very end
        assert torch.equal(vectors(late)[:, :5], before[:, :5])
        assert not torch.equal(vectors(last)[:, 4], before[:, 4])
    changed = late[:, :3200]
    assert torch.equal(model.encode(changed)[:, :, :5], model.encode(x)[:, :, :5])


@KINDS
def test_samples_depend_on_no_later_frame(kind):
    model = codec(kind)
    codes = torch.randint(16, (1, 3, 10), generator=torch.Generator().manual_seed(2))
    changed = codes.clone()
    changed[:, :, 6:] = (changed[:, :, 6:] + 5) % 16
    with torch.no_grad():
        a, b = model.decode(codes), model.decode(changed)
    assert torch.equal(a[:, : 6 * 320], b[:, : 6 * 320])
    assert not torch.equal(a[:, 6 * 320 : 7 * 320], b[:, 6 * 320 : 7 * 320])


@KINDS
def test_forward_in_evaluation_is_encode_and_decode(kind):
    model, x = codec(kind), waveform(2, 1000)
    with torch.no_grad():
        output = model(x)
        assert torch.equal(output.codes, model.encode(x))
        torch.testing.assert_close(output.waveform, model.decode(output.codes)[:, :1000])
    assert output.commitment.shape == () and output.perplexity.shape == (3,)


@KINDS
def test_levels_that_do_not_exist_are_refused(kind):
    with pytest.raises(ConfigurationError, match="give 1 to 3"):
        codec(kind).encode(waveform(1, 320), levels=4)


@KINDS
def test_a_small_codec_learns_one_batch(kind, speech_like):
    model = codec(kind).train()
    x = torch.from_numpy(speech_like(0.1))[None]
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        output = model(x)
        loss = (output.waveform - x).square().mean() / x.square().mean()
        optimizer.zero_grad()
        (loss + 0.1 * output.commitment).backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) / 5 < 0.3 * min(losses[0], 1.0)  # 1.0: what silence would cost


@KINDS
def test_every_weight_gets_a_gradient(kind):
    model = codec(kind).train()
    output = model(waveform(2, 1280))
    (output.waveform.square().mean() + output.commitment).backward()
    missing = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []


@KINDS
def test_bfloat16_training_and_inference(kind):
    model, x = codec(kind).train(), waveform(2, 1280)
    with torch.autocast("cpu", torch.bfloat16):
        output = model(x)
        assert output.waveform.dtype == output.commitment.dtype == torch.float32
        (output.waveform - x).abs().mean().backward()
        codes = model.eval().encode(x)
        made = model.decode(codes)
    assert made.dtype == torch.float32 and torch.isfinite(made).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    with torch.no_grad():
        error = (made - model.decode(codes)).square().mean()
        assert error < 0.01 * made.square().mean()


@KINDS
def test_an_exported_codec_loads_strictly_and_is_the_same(kind):
    model, x = codec(kind).train(), waveform(2, 1280)
    model(x)
    shipped = exported(model)
    assert not any("training_state" in name for name in shipped.state_dict())
    assert not any(parameter.requires_grad for parameter in shipped.parameters())
    fresh = build_codec(config(kind))
    fresh.load_state_dict(shipped.state_dict(), strict=True)
    assert fresh.fingerprint() == shipped.fingerprint() != model.fingerprint()
    assert torch.equal(fresh.eval().encode(x), model.eval().encode(x))


@KINDS
def test_a_checkpoint_keeps_the_training_state(kind):
    model, x = codec(kind).train(), waveform(2, 1280)
    model(x)
    resumed = build_codec(config(kind)).train()
    resumed.load_state_dict(copy.deepcopy(model.state_dict()), strict=True)
    torch.manual_seed(0)
    expected = model(x)
    torch.manual_seed(0)
    assert torch.equal(resumed(x).waveform, expected.waveform)
    assert torch.equal(resumed.quantizer.codebooks, model.quantizer.codebooks)


def test_rounded_for_disk_it_stays_finite():
    shipped = exported(codec("spectral")).rounded("float16")
    assert all(torch.isfinite(value).all() for value in shipped.state_dict().values())


@pytest.mark.parametrize(
    "settings_",
    [
        {"kind": "spectral", "subframes": 3},
        {"kind": "soundstream", "strides": (2, 4, 5)},
        {"kind": "soundstream", "dilations": ()},
        {"kind": "spectral", "quantizer": {"levels": 0}},
        {"kind": "vocoder"},
    ],
)
def test_settings_that_cannot_be_are_refused(settings_):
    with pytest.raises(ValidationError):
        Whole.model_validate({"codec": settings_})


KEPT = pytest.mark.parametrize("codebook_dim", [0, 4])


@KINDS
@KEPT
def test_keeping_codes_leaves_the_decoder_alone_to_learn(kind, codebook_dim):
    model = build_codec(config(kind, quantizer={**QUANTIZER, "codebook_dim": codebook_dim}))
    model.synthesise(torch.randn(2, 5, 8), StreamingState()).square().sum().backward()
    decoder = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert decoder
    model.keep_codes()
    assert {name for name, weight in model.named_parameters() if weight.requires_grad} == decoder


@KINDS
@KEPT
def test_kept_codes_stay_what_they_are_while_the_decoder_learns(kind, codebook_dim):
    model = build_codec(config(kind, quantizer={**QUANTIZER, "codebook_dim": codebook_dim}))
    data = waveform(2, 3200)
    model.train()(data)  # the codebooks start
    model.keep_codes()
    before = copy.deepcopy(model).eval()
    optimizer = torch.optim.SGD([w for w in model.parameters() if w.requires_grad], lr=1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        model.train()(data).waveform.square().sum().backward()
        optimizer.step()
    codes = before.encode(data)
    for after in (model.eval(), exported(model)):
        assert torch.equal(after.encode(data), codes)
        assert torch.equal(after.embed(codes), before.embed(codes))
        assert after.codes_fingerprint() == before.codes_fingerprint()
        assert after.fingerprint() != before.fingerprint()
        assert not torch.allclose(after.decode(codes), before.decode(codes), atol=1e-5)
    assert exported(model).state_dict().keys() == exported(before).state_dict().keys()


@KINDS
@KEPT
def test_whatever_changes_the_codes_changes_their_fingerprint(kind, codebook_dim):
    model = exported(
        build_codec(config(kind, quantizer={**QUANTIZER, "codebook_dim": codebook_dim}))
    )
    data = waveform(2, 3200)
    print_, codes = model.codes_fingerprint(), model.encode(data)
    changed = []
    for weight in (*model.parameters(), *model.quantizer.buffers()):
        kept = weight.detach().clone()
        with torch.no_grad():
            weight.copy_(torch.randn_like(weight))
            if not torch.equal(model.encode(data), codes):
                changed.append(weight)
                assert model.codes_fingerprint() != print_
            weight.copy_(kept)
    assert len(changed) > 5
    assert model.codes_fingerprint() == print_
