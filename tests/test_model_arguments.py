"""What callers of `AudioLM` pass, and what they have set: meant is taken, the rest is refused."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from audiolm.audio.waveform import Audio
from audiolm.codec import chunks as chunks_module
from audiolm.errors import AudioError, AudioLMError, ConfigurationError
from audiolm.model import AudioLM
from audiolm.stages import KINDS, Sampling
from audiolm.tokens import Tokens
from tiny import LEVELS, N, noise, tiny_model


@pytest.fixture(scope="module")
def lm() -> AudioLM:
    return tiny_model(kinds=tuple(KINDS))


# ---- arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [np.int64(3), 3.0, np.array(3), torch.tensor(3)])
def test_a_seed_of_any_type_is_that_seed(lm, seed):
    plain = lm.unconditional(0.2, seed=3)
    assert np.array_equal(lm.unconditional(0.2, seed=seed).samples, plain.samples)


@pytest.mark.parametrize("levels", [2.0, np.int32(2), torch.tensor(2)])
def test_levels_of_any_type_are_as_many(lm, levels):
    audio = noise(0.6)
    for mode in (lm.reconstruction, lm.acoustic_generation, lm.continuation):
        seconds = (0.2,) if mode == lm.continuation else ()
        a, b = (mode(audio, *seconds, levels=given).samples for given in (2, levels))
        assert np.array_equal(a, b)


@pytest.mark.parametrize("passes", [[3, 2], np.array([3, 2]), torch.tensor([3, 2])])
def test_passes_of_any_type_are_as_many(lm, passes):
    plain = lm.unconditional(0.2, acoustic="parallel", passes=(3, 2))
    again = lm.unconditional(0.2, acoustic="parallel", passes=passes)
    assert np.array_equal(again.samples, plain.samples)


@pytest.mark.parametrize("seconds", [np.float32(0.5), np.float64(0.5), torch.tensor(0.5)])
def test_seconds_of_any_type_are_as_long(lm, seconds):
    assert lm.unconditional(seconds).seconds == 0.5
    assert lm.continuation(noise(0.5), seconds, prompt_seconds=seconds).seconds > 0.9


WRONG = [
    ({"seed": True}, "seed"),
    ({"seed": 1.5}, "seed"),
    ({"seed": -1}, "seed"),
    ({"seed": None}, "seed"),
    ({"seed": "1"}, "seed"),
    ({"seed": 2**64}, "seed"),
    ({"levels": True}, "levels"),
    ({"levels": 1.5}, "levels"),
    ({"levels": "2"}, "levels"),
    ({"levels": 0}, "levels"),
    ({"levels": LEVELS + 1}, "levels"),
    ({"sampling": Sampling()}, "sampling"),
    ({"sampling": {"coarse": 0.8}}, r"sampling\.coarse"),
    ({"sampling": {"crude": Sampling()}}, "sampling"),
    ({"sampling": {3: Sampling()}}, "sampling"),
    ({"acoustic": "serial"}, "acoustic"),
    ({"acoustic": ["parallel"]}, "acoustic"),
    ({"passes": (2, 1)}, "passes"),  # of a model that makes codes one after the other
    ({"acoustic": "parallel", "passes": (2,)}, "passes"),
    ({"acoustic": "parallel", "passes": 2}, "passes"),
    ({"acoustic": "parallel", "passes": "21"}, "passes"),
    ({"acoustic": "parallel", "passes": (True, 1)}, "passes"),
    ({"acoustic": "parallel", "passes": (1.5, 1)}, "passes"),
]


@pytest.mark.parametrize(("wrong", "name"), WRONG)
def test_what_cannot_be_meant_is_refused_in_one_line_by_every_mode(lm, wrong, name):
    calls = [
        lambda: lm.continuation(noise(1.0), 0.2, **wrong),
        lambda: lm.acoustic_generation(noise(1.0), **wrong),
        lambda: lm.unconditional(0.2, **wrong),
        lambda: lm.pipeline(**wrong),
    ]
    if "levels" in wrong:
        calls += [
            lambda: lm.reconstruction(noise(1.0), **wrong),
            lambda: lm.reconstruct_stream([], **wrong),
        ]
    for call in calls:
        with pytest.raises(ConfigurationError, match=f"^{name}: ") as error:
            call()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), True, np.True_, 0, -1, "1", None])
def test_lengths_that_are_none_are_refused(lm, seconds):
    with pytest.raises(ConfigurationError, match=r"^seconds: "):
        lm.unconditional(seconds)
    if seconds is not None:  # the model's own length, and all of the prompt
        with pytest.raises(ConfigurationError, match=r"^seconds: "):
            lm.continuation(noise(1.0), seconds)
        with pytest.raises(ConfigurationError, match=r"^prompt_seconds: "):
            lm.continuation(noise(1.0), 0.2, prompt_seconds=seconds)


def test_several_prompts_may_come_in_anything_that_holds_them(lm):
    prompts = [noise(1.0, seed=1), noise(1.0, seed=2)]
    plain = lm.continuation(prompts, 0.2)
    for given in (tuple(prompts), iter(prompts)):
        for a, b in zip(plain, lm.continuation(given, 0.2), strict=True):
            assert np.array_equal(a.samples, b.samples)


@pytest.mark.parametrize("prompt", [None, 3, "prompt.wav", np.zeros(16_000, np.float32), [None]])
def test_what_is_no_recording_is_refused(lm, prompt):
    with pytest.raises(AudioError, match=r"^prompt: need an Audio, got"):
        lm.continuation(prompt, 0.2)


def test_a_stage_under_a_name_that_is_no_kind_is_refused(lm):
    with pytest.raises(ConfigurationError, match="'crude': is no kind of stage"):
        AudioLM(lm.codec, lm.semantic, {"crude": lm.stages["coarse"]})


# ---- tokens --------------------------------------------------------------------------------------


def test_codes_of_any_type_decode(lm):
    tokens = lm.tokenize(noise(0.5))
    codes, plain = tokens.acoustic, lm.decode(tokens).samples
    same = [
        codes.numpy(), codes.numpy().astype(np.uint16), codes.int(), codes.double(), codes.half(),
        codes.bfloat16(), codes.numpy().astype(np.float32), codes.tolist(), codes[None],
        codes.float().requires_grad_(), np.asfortranarray(codes.numpy())[..., ::-1][..., ::-1],
    ]  # fmt: skip
    for given in same:
        assert np.array_equal(lm.decode(replace(tokens, acoustic=given)).samples, plain)
        assert np.array_equal(lm.decode(given).samples, plain)


def test_what_are_no_codes_is_refused(lm):
    codes = lm.tokenize(noise(0.5)).acoustic
    wrong = [
        None, 3, "codes", [[1], [1, 2]], codes > 3, codes + 0.5, codes.float() * torch.nan,
        codes.float() + torch.inf, codes - N, codes + N, codes[0], codes[:, :0], codes[:0],
        torch.stack([codes, codes]), torch.cat([codes, codes]), codes.numpy().astype(object),
        codes.numpy().astype(str), codes.to(torch.complex64),
    ]  # fmt: skip
    for given in wrong:
        for tokens in (Tokens(torch.zeros(1), given), given):
            with pytest.raises(ConfigurationError, match=r"^tokens\.acoustic: ") as error:
                lm.decode(tokens)
            assert "\n" not in str(error.value)


def test_one_can_train_on_tokens(lm):
    for mode in (torch.inference_mode(False), torch.inference_mode()):
        with mode:
            tokens = lm.tokenize(noise(0.5))
        table = torch.nn.Embedding(N, 3)
        table(tokens.acoustic).sum().backward()  # saves the ids for the backward pass
        for ids in (tokens.semantic, tokens.acoustic):
            assert not ids.is_inference()
            ids += 1


# ---- what the caller has set ---------------------------------------------------------------------


@contextmanager
def float64():
    torch.set_default_dtype(torch.float64)
    try:
        yield
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def default_device():
    torch.set_default_device("meta")
    try:
        yield
        assert torch.empty(1).is_meta
    finally:
        torch.set_default_device(None)


@contextmanager
def device_around():
    with torch.device("meta"):
        yield
        assert torch.empty(1).is_meta


@contextmanager
def autocast():
    with torch.autocast("cpu", torch.bfloat16):
        yield
        assert torch.is_autocast_enabled("cpu")


@contextmanager
def all_at_once():
    with float64(), default_device(), autocast(), torch.inference_mode():
        yield


STATES = [float64, default_device, device_around, autocast, torch.inference_mode, all_at_once]


@pytest.mark.parametrize("state", STATES)
def test_results_are_the_same_whatever_the_caller_has_set(lm, state):
    audio = noise(0.8)

    def results():
        tokens = lm.tokenize(audio)
        return [
            tokens.semantic.numpy(),
            tokens.acoustic.numpy(),
            lm.continuation(audio, 0.3).samples,
            lm.continuation(audio, 0.3, baseline="acoustic-only").samples,
            lm.continuation([audio, audio], 0.3)[1].samples,
            lm.acoustic_generation(audio).samples,
            lm.unconditional(0.3).samples,
            lm.reconstruction(audio, 2).samples,
            np.concatenate(list(lm.reconstruct_stream([audio.samples], 2))),
            lm.decode(tokens).samples,
        ]

    plain = results()
    with state():
        under = results()
    for a, b in zip(plain, under, strict=True):
        assert a.dtype == b.dtype and np.array_equal(a, b)


@pytest.mark.parametrize("state", STATES)
def test_codec_and_tokenizer_alone_are_as_steady(lm, state):
    waveform = torch.from_numpy(noise(0.8).samples)[None]

    def results():
        codes = lm.codec.encode(waveform)
        encoder, decoder = lm.codec.encoder_stream(), lm.codec.decoder_stream()
        features = lm.semantic.features(waveform)
        return [
            codes,
            lm.codec.decode(codes),
            lm.codec.embed(codes),
            encoder.push(waveform),
            encoder.flush(),
            decoder.push(codes),
            decoder.flush(),
            features,
            lm.semantic.quantize(features),
            lm.semantic.encode(waveform),
        ]

    plain = results()
    with state():
        under = results()
    for a, b in zip(plain, under, strict=True):
        assert a.dtype == b.dtype and a.device == b.device
        assert np.array_equal(a.detach().numpy(), b.detach().numpy())


def test_codec_and_tokenizer_hear_samples_of_any_float_type(lm):
    waveform = torch.from_numpy(noise(0.8).samples)[None]
    assert torch.equal(lm.codec.encode(waveform.double()), lm.codec.encode(waveform))
    assert torch.equal(
        lm.codec.encoder_stream().push(waveform.double()), lm.codec.encoder_stream().push(waveform)
    )
    assert torch.equal(lm.semantic.encode(waveform.double()), lm.semantic.encode(waveform))


@pytest.mark.parametrize("state", STATES)
def test_a_saved_model_is_the_same_whatever_the_caller_has_set(lm, state, tmp_path):
    with state():
        lm.save(tmp_path / "under")
        assert lm.codec.fingerprint() == lm.fingerprints["codec"]
    lm.save(tmp_path / "plain")
    for path in (tmp_path / "plain").glob("*.safetensors"):
        assert path.read_bytes() == (tmp_path / "under" / path.name).read_bytes()


def test_nothing_sets_the_number_of_threads(lm, monkeypatch):
    def refuse(threads):
        raise AssertionError(f"{threads} threads were set")

    monkeypatch.setattr(torch, "set_num_threads", refuse)
    lm.continuation(noise(1.0), 0.2)
    lm.reconstruction(noise(1.0))
    lm.tokenize(noise(1.0))


# ---- long recordings -----------------------------------------------------------------------------


def test_long_recordings_go_through_the_codec_in_chunks(lm, monkeypatch):
    audio = noise(3.01)
    whole = lm.reconstruction(audio), lm.tokenize(audio), lm.continuation(audio, 2.0)
    monkeypatch.setattr(chunks_module, "CHUNK_SAMPLES", 6400)
    monkeypatch.setattr(chunks_module, "CHUNK_FRAMES", 20)
    longest = []
    original = lm.codec.analyse
    monkeypatch.setattr(
        lm.codec,
        "analyse",
        lambda samples, memory: longest.append(samples.shape[1]) or original(samples, memory),
    )
    chunked = lm.reconstruction(audio), lm.tokenize(audio), lm.continuation(audio, 2.0)
    assert max(longest) <= 6400 + 640
    for a, b in ((whole[0], chunked[0]), (whole[2], chunked[2])):
        np.testing.assert_allclose(a.samples, b.samples, atol=1e-4, rtol=0)
    assert torch.equal(whole[1].acoustic, chunked[1].acoustic)
    np.testing.assert_allclose(
        lm.decode(chunked[1]).samples[: len(audio.samples)], whole[0].samples, atol=1e-4, rtol=0
    )


def test_a_stream_of_chunks_is_the_recordings_reconstruction(lm):
    audio = noise(1.3)
    chunks = np.split(audio.samples, [1, 5000, 5000, 12_345])
    made = np.concatenate(list(lm.reconstruct_stream(chunks, levels=2)))
    expected = lm.reconstruction(audio, levels=2).samples
    assert made.shape == expected.shape
    np.testing.assert_allclose(made, expected, atol=1e-4, rtol=0)


def test_every_refusal_is_an_error_of_ours(lm):
    with pytest.raises(AudioLMError):
        lm.reconstruction(Audio(np.zeros(0, np.float32), 16_000))
