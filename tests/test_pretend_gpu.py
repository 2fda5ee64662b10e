"""Training, generation and the command line on a pretended GPU; and that it can say no."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from audiolm.audio.files import read
from audiolm.cli import benchmark
from audiolm.cli.main import main
from audiolm.codec import QuantizerConfig, build_codec
from audiolm.codec.discriminators import DiscriminatorConfig
from audiolm.codec.losses import MelLossConfig
from audiolm.codec.soundstream import SoundStreamConfig
from audiolm.data.corpus import open_corpus, split_validation
from audiolm.device import choose_device
from audiolm.errors import TrainingError
from audiolm.evaluation.metrics.dtw import Segments, pair_distances
from audiolm.evaluation.options import EvaluationConfig
from audiolm.evaluation.run import Evaluation, run
from audiolm.evaluation.tables.reconstruction import decoded
from audiolm.evaluation.tables.semantic_decoder import train_semantic_decoder
from audiolm.model import AudioLM
from audiolm.pretrained import load
from audiolm.semantic.conformer import ConformerConfig
from audiolm.semantic.w2v_bert import W2vBertConfig
from audiolm.stages import LayoutConfig, Streams, TransformerConfig, stage_kind
from audiolm.training.distributed import World
from audiolm.training.loop import train
from audiolm.training.preset import load_preset
from audiolm.training.recipe import TrainingRequest, train_model
from audiolm.training.recordings import Recordings
from audiolm.training.tasks.codec import CodecTask, CodecTraining
from audiolm.training.tasks.stage import StageTask, StageTraining
from audiolm.training.tasks.w2v_bert import W2vBertTask, W2vBertTraining
from pretend_gpu import CARD, Pretended, pretend_gpu
from tiny import noise, tiny_model
from training.conftest import token_store  # noqa: F401  (a fixture)
from training.resuming import CPU, assert_resumed_equals_uninterrupted, optimization, watched
from training.toy import LEVELS, SECOND_ROUND, K, N

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a real GPU")

CUDA = torch.device("cuda")
"""As the command line names it, without a number."""
ALL_STAGES = ("semantic", "coarse", "fine", "acoustic_only", "parallel")
EVERY_STEP = [
    *("codec", "w2v_bert", "clustering", "second_round", "second_clustering", "tokens"),
    *ALL_STAGES,
]


@pytest.fixture
def card():
    with pretend_gpu():
        yield CARD


# ---- the pretended GPU itself --------------------------------------------------------------------


def test_it_computes_what_the_cpu_computes(card) -> None:
    x, weight = torch.randn(5, 3), torch.randn(4, 3, requires_grad=True)
    there = weight.detach().to("cuda").requires_grad_()
    F.linear(x, weight).square().sum().backward()
    y = F.linear(x.to("cuda"), there)
    y.square().sum().backward()
    for tensor in (y, there.grad):
        assert isinstance(tensor, Pretended)
        assert tensor.device == card and tensor.is_cuda and not tensor.is_cpu
    assert torch.equal(there.grad.cpu(), weight.grad)
    assert type(y.cpu()) is torch.Tensor and y.cpu().device.type == "cpu"
    kept = y[1]  # a view
    kept.zero_()
    assert float(y[1].detach().abs().sum()) == 0


def test_modules_move_there_and_stay(card) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).to("cuda")
    parameters = list(module.parameters())
    assert all(isinstance(p, torch.nn.Parameter) and p.is_cuda for p in parameters)
    assert all(b.is_cuda for b in module.buffers())
    assert all(a is b for a, b in zip(module.to("cuda").parameters(), parameters, strict=True))


MIXED = {
    "a sum": lambda here, there: here + there,
    "a product": lambda here, there: there @ here,
    "concatenation": lambda here, there: torch.cat([there, here]),
    "a scalar in a stack": lambda here, there: torch.stack([there.sum(), here.sum()]),
    "into the CPU's": lambda here, there: here.sum().add_(there.sum()),
    "an index of the card": lambda here, there: here[there.argmax(0)],
    "values into the card's": lambda here, there: there.__setitem__(torch.tensor([0]), here[:1]),
    "a mask": lambda here, there: torch.where(here > 0, there, 0.0),
    "a kernel": lambda here, there: F.conv1d(there[None], here[None, :, :1]),
    "an embedding": lambda here, there: F.embedding(torch.tensor([0]), there),
    "a loss": lambda here, there: F.cross_entropy(there, torch.tensor([0, 1, 0])),
    "a mask of attention": lambda here, there: F.scaled_dot_product_attention(
        there[None], there[None], there[None], attn_mask=here[None]
    ),
    "an average": lambda here, there: torch._foreach_lerp_([there], [here], 0.5),
}


@pytest.mark.parametrize("what", MIXED)
def test_mixing_both_is_refused(card, what) -> None:
    here, there = torch.randn(3, 3), torch.randn(3, 3, device="cuda")
    with pytest.raises(RuntimeError, match="same device, but found at least two"):
        MIXED[what](here, there)


def test_what_cuda_takes_from_the_cpu_is_taken(card) -> None:
    there, scalar, index = torch.ones(3, 2, device="cuda"), torch.tensor(2.0), torch.tensor([0, 2])
    assert (there * scalar).is_cuda
    assert there[index].is_cuda
    there[index] = scalar
    there[1].copy_(torch.tensor([3.0, 4.0]))
    assert there.tolist() == [[2, 2], [3, 4], [2, 2]]
    assert torch.zeros(3, 2).copy_(there).device.type == "cpu"


def test_numpy_and_generators_are_refused(card) -> None:
    there = torch.ones(3, device="cuda")
    for read_it in (lambda: there.numpy(), lambda: np.asarray(there)):
        with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
            read_it()
    with pytest.raises(RuntimeError, match="Expected a 'cuda' device type for generator but found"):
        torch.rand(3, device="cuda", generator=torch.Generator())
    with pytest.raises(RuntimeError, match="Expected a 'cpu' device type for generator but found"):
        torch.empty(3).normal_(generator=torch.Generator("cuda"))
    with pytest.raises(NotImplementedError, match="not implemented for"):
        there.long() @ there.long()
    assert torch.rand(3, device="cuda", generator=torch.Generator("cuda")).is_cuda


def test_the_card_has_random_numbers_of_its_own(card) -> None:
    torch.manual_seed(0)
    first, state = torch.rand(4), torch.cuda.get_rng_state()
    drawn = torch.rand(4, device="cuda")
    torch.manual_seed(0)
    dropped = F.dropout(torch.ones(100, device="cuda"))
    assert torch.equal(torch.rand(4), first)  # what is drawn there disturbs nothing here
    torch.cuda.set_rng_state(state)
    assert torch.equal(torch.rand(4, device="cuda"), drawn)
    torch.manual_seed(0)
    assert torch.equal(F.dropout(torch.ones(100, device="cuda")), dropped)


def test_autocast_follows_cudas_rules(card) -> None:
    x = torch.randn(4, 4, device="cuda")
    with torch.autocast("cuda", torch.bfloat16):
        product = x @ x
        assert product.dtype == torch.bfloat16
        # These stay in bfloat16 on a CPU.
        assert F.layer_norm(product, (4,)).dtype == torch.float32
        assert product.softmax(-1).dtype == product.sum().dtype == torch.float32
        with torch.autocast("cuda", enabled=False):
            assert (x @ x).dtype == torch.float32


def test_afterwards_all_is_as_before() -> None:
    before = torch.Tensor.to, torch.tensor, torch.Generator, torch.cuda.is_available
    with pretend_gpu():
        pass
    assert before == (torch.Tensor.to, torch.tensor, torch.Generator, torch.cuda.is_available)


# ---- training ------------------------------------------------------------------------------------


@pytest.fixture
def corpus(corpus_folder):
    return corpus_folder(6, layout="librispeech", speakers=3, seconds=1.5)


def short_preset(*settings: str):
    """The preset tiny with a second round: three steps each, and a validation in the middle."""
    trained = ["codec", "w2v_bert", "second_round", *(f"stages.{name}" for name in ALL_STAGES)]
    how = "{steps: 3, batch_size: 3, warm_up: 1, validations: 2, ema_decay: 0.9}"
    return load_preset(
        "tiny",
        [
            *SECOND_ROUND,
            *(f"training.{name}.optimization={how}" for name in trained),
            "training.clustering.iterations=1",
            "training.second_clustering={layer: 2, clusters: 16, iterations: 1}",
            "training.second_clustering.projection={dims: 8}",
            f"recipe={EVERY_STEP}",
            *settings,
        ],
    )


def test_the_whole_recipe(card, corpus, tmp_path) -> None:
    out, device = tmp_path / "model", choose_device("auto")
    assert device == CUDA
    metrics = train_model(TrainingRequest(corpus, out, short_preset(), device=device, quiet=True))[
        "steps"
    ]
    assert list(metrics) == EVERY_STEP
    for step in ("codec", "w2v_bert", "second_round", *ALL_STAGES):
        saved = torch.load(out / "training" / step / "checkpoint.pt", weights_only=True)
        assert len(saved["cuda_generators"]) == 1
        for optimizer in saved["optimizers"].values():
            assert optimizer["param_groups"][0]["fused"]
        lines = (out / "training" / step / "log.jsonl").read_text().splitlines()
        kinds = [json.loads(line)["kind"] for line in lines]
        assert kinds.count("validation") == 2, step
    codec = json.loads((out / "training" / "codec" / "log.jsonl").read_text().splitlines()[-2])
    assert codec["discriminator"] > 0

    # A checkpoint goes from one device to the other, and back.
    for steps, place in ((4, CPU), (5, CUDA)):
        longer = short_preset(f"training.stages.fine.optimization.steps={steps}")
        request = TrainingRequest(corpus, out, longer, only=["fine"], device=place, quiet=True)
        assert train_model(request)["steps"]["fine"]["steps"] == steps

    # Another model starts from it, and what it makes is loaded from disk anywhere.
    new = short_preset("training.codec.decoder_only=true", "recipe=[codec, tokens]")
    train_model(TrainingRequest(corpus, tmp_path / "new", new, device=CUDA, start=out, quiet=True))
    for place in ("cpu", "cuda"):
        lm = load(tmp_path / "new", place)
        assert lm.device.type == place
        assert lm.fingerprint == load(tmp_path / "new", "cpu").fingerprint


@pytest.fixture
def recordings(corpus, tmp_path):
    """`recordings(device, packed)`: what is trained on, and what judges."""

    def opened(device: torch.device, packed: bool = True) -> tuple[Recordings, Recordings]:
        train, validation = (
            Recordings.open(part, tmp_path / name, device, World(), 5, packed=packed, quiet=True)
            for name, part in zip("th", split_validation(open_corpus(corpus), 0.3), strict=True)
        )
        return train, validation

    return opened


def codec_task(recordings, device=CUDA, packed=True, **changes) -> CodecTask:
    """SoundStream, and discriminators of both families, from the middle of the training on."""
    quantizer = QuantizerConfig(levels=3, codebook_size=16, codebook_dim=4, normalise=True)
    training = CodecTraining(
        optimization=optimization(4, **changes),
        crop_seconds=0.3,
        mel=MelLossConfig(windows=(256, 1024)),
        adversarial_from=0.5,
        discriminators=DiscriminatorConfig(
            windows=(256,), spectral_width=4, scales=2, waveform_width=4, waveform_width_limit=16
        ),
    )
    codec = SoundStreamConfig(channels=4, dim=8, quantizer=quantizer)
    return CodecTask(codec, training, *recordings(device, packed))


def w2v_bert_task(recordings, quantizer: str, device=CUDA) -> W2vBertTask:
    config = W2vBertConfig(
        conformer=ConformerConfig(
            width=16, layers=2, heads=2, feed_forward=32, kernel=3, dropout=0.1
        ),
        contrastive_layers=1,
        quantizer={"kind": quantizer, "entries": 16, "width": 8},
        masking={"replacement": "learnt" if quantizer == "clusters" else "noise"},
        unmasked_weight=0.5,
        distractors=10,
    )
    training = W2vBertTraining(optimization=optimization(4), crop_seconds=1.6)
    return W2vBertTask(config, training, *recordings(device), seed=3)


def stage_task(stores, kind: str, device=CUDA, how=None, **layout) -> StageTask:
    sizes = {"clusters": K, "codebook_size": N, "coarse_levels": 2, "levels": LEVELS}
    config = stage_kind(kind).config(
        layout=LayoutConfig(kind=kind, **(sizes | layout)),
        transformer=TransformerConfig(layers=2, heads=2, width=16, feed_forward=32, dropout=0.2),
        context_seconds=2,
        **({"passes": (3, 1)} if kind == "parallel" else {}),
    )
    training = StageTraining(optimization=optimization(4, **(how or {})), crop_seconds=0.8)
    return StageTask(kind, config, training, *stores, device, 1, seed=4)


LAYOUTS = {
    "semantic": ("semantic", {"remove_repeats": False}),
    "coarse": ("coarse", {"conditioning": "both", "remove_repeats": False, "look_ahead": 1}),
    "fine": ("fine", {"conditioning": "aligned"}),
    "parallel": ("parallel", {"conditioning": "aligned", "remove_repeats": False}),
}


@pytest.fixture
def stores(token_store):  # noqa: F811
    return token_store([60, 30, 45, 9, 80]), token_store([25, 52, 7], seed=1, name="held")


def test_a_resumed_codec_equals_one_left_alone(card, recordings, tmp_path) -> None:
    assert_resumed_equals_uninterrupted(
        lambda: codec_task(recordings), tmp_path, dies_at=3, device=CUDA
    )


@pytest.mark.parametrize("quantizer", ["gumbel", "clusters"])
def test_a_resumed_w2v_bert_equals_one_left_alone(card, recordings, tmp_path, quantizer) -> None:
    """Masks, noise and dropout are drawn on the card: its generator goes on as well."""
    assert_resumed_equals_uninterrupted(
        lambda: w2v_bert_task(recordings, quantizer), tmp_path, dies_at=2, device=CUDA
    )


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_resumed_stage_equals_one_left_alone(card, stores, tmp_path, name) -> None:
    kind, layout = LAYOUTS[name]
    assert_resumed_equals_uninterrupted(
        lambda: stage_task(stores, kind, **layout), tmp_path, dies_at=2, device=CUDA
    )


def test_a_validation_disturbs_no_random_numbers_there(card, stores, tmp_path) -> None:
    losses = []
    for validations in (1, 4):
        torch.manual_seed(1)
        task = stage_task(stores, "coarse", how={"validations": validations})
        losses.append(watched(task))
        trained(task, tmp_path / str(validations), CUDA)
    assert losses[0] == losses[1]


def trained(task, folder, device) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """The last validation and the averaged weights, on the CPU."""
    torch.manual_seed(2)
    outcome = train(task, folder, device, World(), quiet=True)
    return outcome.metrics, {k: v.cpu() for k, v in outcome.averaged.state_dict().items()}


def test_a_codec_learns_the_same_there(card, recordings, tmp_path) -> None:
    """Its random numbers are all drawn on the CPU; float32, as autocast has rules of its own."""
    results = []
    for name, device, packed in (("c", CPU, True), ("g", CUDA, True), ("n", CUDA, False)):
        torch.manual_seed(1)
        task = codec_task(recordings, device, packed, precision="float32")
        results.append(trained(task, tmp_path / name, device))
    (metrics, weights), *others = results
    for same_figures, same_weights in others:
        assert same_figures == pytest.approx(metrics, rel=1e-4)
        for name, weight in weights.items():
            assert torch.allclose(same_weights[name].float(), weight.float(), atol=1e-5), name


def test_a_stage_learns_the_same_there(card, stores, tmp_path) -> None:
    """Without dropout nothing is drawn; attention is another kernel, which rounds otherwise."""
    both = []
    for device in (CPU, CUDA):
        torch.manual_seed(1)
        task = stage_task(stores, "coarse", device, {"precision": "float32"})
        for module in task.networks.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        both.append(trained(task, tmp_path / device.type, device))
    (metrics, weights), (same_figures, same_weights) = both
    assert same_figures == pytest.approx(metrics, rel=1e-4)
    for name, weight in weights.items():
        assert torch.allclose(same_weights[name], weight, atol=1e-4), name


def test_a_batch_of_the_card_that_gives_no_number_is_kept(card, recordings, tmp_path) -> None:
    task = codec_task(recordings)
    batch = task.batch
    task.batch = lambda step, rank, progress: replace(
        batch(step, rank), waveform=batch(step, rank).waveform * torch.nan
    )
    with pytest.raises(TrainingError, match="not finite; its batch is kept in"):
        train(task, tmp_path / "run", CUDA, World(), quiet=True)
    assert torch.load(tmp_path / "run" / "batch-of-step-0.pt")["waveform"].isnan().all()


# ---- the model -----------------------------------------------------------------------------------


def model(device: str) -> AudioLM:
    """A model whose stages decode in float32 on both devices: a CPU would take less."""
    lm = tiny_model(kinds=ALL_STAGES).to(device)
    for stage in lm.stages.values():
        stage.decoding_weights = torch.float32
        stage.products = torch.float32
    return lm


PROMPTS = [noise(0.8), noise(0.7, seed=1), noise(0.8, seed=2)]
MODES = {
    "continuation": lambda lm: lm.continuation(PROMPTS[0], 1.5, seed=3),  # more than a window
    "continuations": lambda lm: lm.continuation(PROMPTS, 0.3, seed=3, continuation_only=True),
    "baseline": lambda lm: lm.continuation(PROMPTS[0], 1.5, seed=3, baseline="acoustic-only"),
    "acoustic generation": lambda lm: lm.acoustic_generation(noise(0.7), seed=3),
    "unconditional": lambda lm: lm.unconditional(0.5, seed=3),
    "parallel": lambda lm: lm.continuation(PROMPTS[0], 1.5, seed=3, acoustic="parallel"),
    "reconstruction": lambda lm: lm.reconstruction(noise(1.3), levels=3),
    "tokens": lambda lm: lm.decode(lm.tokenize(noise(1.1))),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_what_it_gives_on_the_cpu(card, mode) -> None:
    """By design a real card differs: in its random numbers, and in how its kernels round."""
    here, there = (MODES[mode](model(device)) for device in ("cpu", "cuda"))
    here, there = (made if isinstance(made, list) else [made] for made in (here, there))
    assert len(here) == len(there)
    for expected, found in zip(here, there, strict=True):
        assert type(found.samples) is np.ndarray
        assert found.samples == pytest.approx(expected.samples, abs=1e-4)


def test_tokens_come_back_to_the_cpu_and_are_the_same(card) -> None:
    here, there = (model(device).tokenize(noise(2.0)) for device in ("cpu", "cuda"))
    for field in fields(here):
        expected, found = getattr(here, field.name), getattr(there, field.name)
        assert type(found) is torch.Tensor
        assert torch.equal(found, expected)


def test_a_model_is_saved_from_there(card, tmp_path) -> None:
    here, there = model("cpu"), model("cuda")
    there.save(tmp_path)
    assert there.fingerprint == here.fingerprint == load(tmp_path, "cpu").fingerprint


def test_logits_to_look_at_under_autocast(card) -> None:
    """The norm before them gives float32 there and the product bfloat16."""
    stage = model("cuda").stages["coarse"]
    streams = Streams(torch.zeros(1, 4).long().cuda(), torch.zeros(1, LEVELS, 8).long().cuda())
    flat = stage.layout.flatten(streams)
    with torch.autocast("cuda", torch.bfloat16):
        hidden = stage.transformer(flat.ids, flat.aligned)
        every = stage.transformer.vocabulary_logits(hidden, flat.kinds)
    assert bool(every[flat.predicted].isfinite().any(1).all())


@pytest.mark.parametrize("kind", ["spectral", "soundstream"])
def test_streams(card, kind) -> None:
    config = SoundStreamConfig(channels=4, dim=8, quantizer=QuantizerConfig(levels=2))
    codec = model("cpu").codec if kind == "spectral" else build_codec(config).eval()
    waveform = torch.from_numpy(noise(1.0).samples)[None]
    results = []
    for device in ("cpu", "cuda"):
        codec = codec.to(device)
        encoder, decoder = codec.encoder_stream(), codec.decoder_stream()
        chunks = [encoder.push(chunk.to(device)) for chunk in waveform.split(3000, dim=1)]
        codes = torch.cat([*chunks, encoder.flush()], dim=2)
        sound = torch.cat([decoder.push(codes), decoder.flush()], dim=1)
        assert codec.encoder_stream().flush().device.type == device
        results.append((codes.cpu(), sound.cpu()))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.allclose(results[0][1], results[1][1], atol=1e-5)


# ---- its evaluation ------------------------------------------------------------------------------


def test_a_part_of_the_evaluation(card, corpus, tmp_path) -> None:
    """Voices, and what follows a prompt: a classifier is trained for them, and a stage judges."""
    lengths = {"prompt_seconds": 0.6, "seconds": 1.0, "samples": 1}
    sections = {
        "speaker": lengths | {"epochs": 0.3},
        "continuation": lengths | {"recogniser": ""},
    }
    asked = Evaluation(
        model("cuda"),
        corpus,
        tmp_path / "report",
        only=["continuation"],
        limit=1,
        options=EvaluationConfig.model_validate(sections),
    )
    report = run(asked)
    assert report["device"] == "cuda:0"
    part = report["experiments"]["continuation"]
    assert part["state"] == "done"
    assert {"voice.audiolm", "bits.audiolm", "bits.acoustic_only"} <= set(part["metrics"])


def test_frames_that_are_compared(card) -> None:
    """In threads, for ABX."""
    frames, lengths = torch.randn(40, 5), np.array([10, 14, 16])
    pairs = np.array([[0, 1], [1, 2], [0, 2]])
    starts = np.array([0, 10, 24])
    here, there = (
        pair_distances(Segments(frames.to(device), starts, lengths), pairs)
        for device in ("cpu", "cuda")
    )
    assert there == pytest.approx(here)


def test_a_decoder_of_semantic_tokens(card, recordings) -> None:
    lm, store = model("cuda"), recordings(CUDA)[0].store
    decoder, fitted = train_semantic_decoder(lm.codec, lm.semantic, store, 1e-5, seed=0)
    assert fitted.steps == 1
    assert decoded(decoder, lm.tokenize(noise(0.5)).semantic, 8000).seconds == 0.5


# ---- the command line ----------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    tiny_model(kinds=ALL_STAGES).save(tmp_path / "tiny")
    noise(0.6).write(tmp_path / "prompt.wav")
    return tmp_path


@pytest.mark.parametrize(
    "verb",
    [
        ["continue", "prompt.wav", "--seconds", "0.3"],
        ["generate", "--seconds", "0.3", "--top-k", "5", "--top-p", "0.9"],
        ["reconstruct", "prompt.wav"],
        ["resynthesize", "prompt.wav"],
    ],
)
def test_verbs(card, folder, capsys, monkeypatch, verb) -> None:
    monkeypatch.chdir(folder)
    assert main([*verb, "-o", "out.wav", "--model", "tiny", "--device", "cuda", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["device"] == "cuda:0"
    assert read(folder / "out.wav").seconds > 0.25


def test_the_benchmark(card, folder, capsys, monkeypatch) -> None:
    monkeypatch.setattr(benchmark, "PROMPT_SECONDS", 0.6)
    monkeypatch.setattr(benchmark, "SECONDS", 0.2)
    command = ["benchmark", str(folder / "tiny"), "--repeats", "1", "--device", "cuda", "--json"]
    assert main(command) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["device"] == "cuda:0" and report["device_name"] == "pretended"
    assert report["peak_device_memory_bytes"] == 0
