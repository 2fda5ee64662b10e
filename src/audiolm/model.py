"""AudioLM: a codec, a semantic tokenizer and stages, joined (paper, section III-D).

The front door: each mode checks what it is asked for, and hands over to `audiolm.modes`, where
`continued` is the whole system read from top to bottom: prompt, tokens, what is said next, how it
sounds, fine detail, waveform. Acoustic generation takes the semantic ids from a recording,
unconditional generation has no prompt, reconstruction asks the codec alone.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, Self, overload

import numpy as np
import torch
from torch import Tensor

from audiolm.arguments import checked_best_of, checked_levels, checked_seed
from audiolm.audio.origin import Origin
from audiolm.audio.waveform import Audio
from audiolm.codec.chunks import decode_in_chunks, encode_in_chunks, reconstruct_chunks
from audiolm.codec.contract import Codec
from audiolm.configuration import parse
from audiolm.device import choose_device, torch_defaults
from audiolm.editing import check_stages, checked_gap, joined, made_piece
from audiolm.errors import AudioError, ConfigurationError
from audiolm.hub import push
from audiolm.model_io.compatibility import check_parts
from audiolm.model_io.folder import save_parts
from audiolm.model_io.manifest import ModelInfo, model_fingerprint
from audiolm.modes import continued, from_nothing, marked, said_in_any_voice
from audiolm.part import Dtype, Part
from audiolm.parts import CODEC, DETECTOR, SEMANTIC, stage_part
from audiolm.pipeline import (
    DEFAULT_SAMPLING,
    Pipeline,
    Progress,
    chosen_acoustic,
    chosen_sampling,
)
from audiolm.prompt import check_baseline, check_seconds, prompt_samples, require_audio
from audiolm.safety.detector import Detector
from audiolm.safety.watermark import Payload
from audiolm.semantic.contract import SemanticTokenizer
from audiolm.shapes import SAMPLE_RATE, Waveform
from audiolm.stages import (
    MAKERS,
    Acoustic,
    Sampling,
    Stage,
    stage_generator,
)
from audiolm.stages.guidance import check_guidance
from audiolm.streaming import stream
from audiolm.tokens import Tokens, checked_codes


class AudioLM:
    """A language model of audio.

    Args:
        codec: makes codes of a waveform, and a waveform of codes.
        semantic: makes semantic ids of a waveform.
        stages: by kind, one of `audiolm.stages.KINDS`: semantic, coarse, fine, acoustic_only,
            parallel; a mode says when it lacks one.
        name: what the model calls itself.
        info: what else its folder says of it.
        fingerprints: of the parts by name, where they are known; computed otherwise.
        detector: knows the sound that these parts make (`audiolm.detect`); it makes none itself.

    Raises:
        ModelFolderError: when the parts do not belong together.
        ConfigurationError: a stage is given under a name that is no kind of stage.

    The parts are put into evaluation mode. A model lives on the device of its codec. PyTorch's
    default type and device, and autocast, are the caller's: they change nothing in here.
    """

    def __init__(
        self,
        codec: Codec,
        semantic: SemanticTokenizer,
        stages: Mapping[str, Stage],
        name: str = "",
        info: ModelInfo | None = None,
        fingerprints: Mapping[str, str] | None = None,
        detector: Detector | None = None,
    ) -> None:
        self.codec = codec
        self.semantic = semantic
        self.stages = dict(stages)
        self.detector = detector
        self.name = name
        self.info = info or ModelInfo()
        known = fingerprints or {}
        self.fingerprints = {n: known.get(n) or p.fingerprint() for n, p in self.parts.items()}
        for part in self.parts.values():
            part.eval()
        check_parts(codec, semantic, self.stages, self.fingerprints)

    @property
    def parts(self) -> dict[str, Part]:
        """Every part under the name that it has in a model folder."""
        stages = {stage_part(kind).name: stage for kind, stage in self.stages.items()}
        parts = {CODEC.name: self.codec, SEMANTIC.name: self.semantic, **stages}
        return parts if self.detector is None else {**parts, DETECTOR.name: self.detector}

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the fingerprints of all parts that make sound."""
        return model_fingerprint(self.fingerprints)

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return next(self.codec.parameters()).device

    @property
    def sampling(self) -> dict[str, Sampling]:
        """How each kind of stage is sampled unless a call says otherwise: as in the paper, but for
        what the model's folder says."""
        chosen = dict(DEFAULT_SAMPLING)
        for kind, says in self.info.sampling.items():
            settings = {**DEFAULT_SAMPLING[kind].model_dump(), **says}
            chosen[kind] = parse(Sampling, settings, f"sampling.{kind}")
        return chosen

    @property
    def levels(self) -> int:
        """Levels of codes that are made unless a call says otherwise."""
        return min(self.info.levels or self.codec.levels, self.codec.levels)

    def to(self, device: torch.device | str) -> Self:
        """Move every part to a device: auto, cpu, cuda or mps.

        Raises:
            ConfigurationError: when this machine has no such device.
        """
        target = choose_device(device)
        for part in self.parts.values():
            part.to(target)
        return self

    def save(self, folder: str | Path, dtype: Dtype = "float16") -> None:
        """Write the model into a folder, whole or not at all; weights are stored as `dtype`.

        Raises:
            ModelFolderError: as `audiolm.model_io.folder.save_parts`.
        """
        about = self.info.model_dump() | ({"name": self.name} if self.name else {})
        save_parts(folder, self.parts, about, dtype)

    def push(
        self,
        repository: str,
        *,
        token: str | None = None,
        private: bool | None = None,
        card: str = "",
        dtype: Dtype = "float16",
    ) -> str:
        """Put the model on the Hugging Face hub; returns the address of the commit.

        A folder with a MODEL_CARD.md is put there by `audiolm.hub.push`, and by `audiolm push`.

        Args:
            repository: `owner/name`, made where there is none.
            token: of the hub, that may write; the one of this machine when None.
            private: whether a new repository is; as the owner has set it when None.
            card: Markdown of the model card; written from what the model says of itself when empty.
            dtype: how the weights are stored.

        Raises:
            ModelFolderError: as `save`; or the name cannot be, or the hub refuses.
        """
        with TemporaryDirectory(prefix="audiolm-") as place:
            folder = Path(place) / "model"
            self.save(folder, dtype)
            return push(folder, repository, token=token, private=private, text=card)

    def pipeline(
        self,
        seed: int = 0,
        sampling: Mapping[str, Sampling] | None = None,
        progress: Progress | None = None,
        levels: int | None = None,
        acoustic: Acoustic | None = None,
        passes: Sequence[int] | None = None,
    ) -> Pipeline:
        """One run through the stages, for those who want them one by one.

        Raises:
            ConfigurationError: `seed` is no seed, `sampling` names an unknown kind of stage, is no
                sampling or guides a stage that has not learnt it, the codec does not have so many
                `levels`, or `acoustic` and `passes` are not what `check_acoustic` takes.
            ModelFolderError: the model lacks the stage that `acoustic` asks for.
        """
        seed = checked_seed(seed)
        generators = {kind: stage_generator(seed, kind, self.device) for kind in self.stages}
        levels = self.check_levels(levels)
        levels = self.levels if levels is None else levels
        drawn = chosen_sampling(self.sampling, sampling)
        own = self.info.acoustic
        acoustic, stages = chosen_acoustic(self.stages, own, acoustic, passes)
        unused = set(MAKERS.values()) - {MAKERS[acoustic]}
        for kind in stages.keys() - unused:
            check_guidance(drawn[kind], stages[kind].config, f"{kind} stage")
        return Pipeline(stages, drawn, generators, progress, levels, acoustic)

    def check_acoustic(
        self, acoustic: Acoustic | None = None, passes: Sequence[int] | None = None
    ) -> None:
        """Refuse a way of making coarse codes that this model does not have.

        Raises:
            ConfigurationError: it is no way, or `passes` are not those of the parallel stage.
            ModelFolderError: the model lacks the stage.
        """
        chosen_acoustic(self.stages, self.info.acoustic, acoustic, passes)

    @overload
    def continuation(
        self,
        prompt: Audio,
        seconds: float | None = ...,
        *,
        prompt_seconds: float | Literal["default"] | None = ...,
        seed: int = ...,
        sampling: Mapping[str, Sampling] | None = ...,
        levels: int | None = ...,
        best_of: int = ...,
        acoustic: Acoustic | None = ...,
        passes: Sequence[int] | None = ...,
        baseline: Literal["acoustic-only"] | None = ...,
        continuation_only: bool = ...,
        mark: bool = ...,
        progress: Progress | None = ...,
    ) -> Audio: ...
    @overload
    def continuation(
        self,
        prompt: Sequence[Audio],
        seconds: float | None = ...,
        *,
        prompt_seconds: float | Literal["default"] | None = ...,
        seed: int = ...,
        sampling: Mapping[str, Sampling] | None = ...,
        levels: int | None = ...,
        best_of: int = ...,
        acoustic: Acoustic | None = ...,
        passes: Sequence[int] | None = ...,
        baseline: Literal["acoustic-only"] | None = ...,
        continuation_only: bool = ...,
        mark: bool = ...,
        progress: Progress | None = ...,
    ) -> list[Audio]: ...
    def continuation(
        self,
        prompt: Audio | Sequence[Audio],
        seconds: float | None = None,
        *,
        prompt_seconds: float | Literal["default"] | None = "default",
        seed: int = 0,
        sampling: Mapping[str, Sampling] | None = None,
        levels: int | None = None,
        best_of: int = 1,
        acoustic: Acoustic | None = None,
        passes: Sequence[int] | None = None,
        baseline: Literal["acoustic-only"] | None = None,
        continuation_only: bool = False,
        mark: bool = True,
        progress: Progress | None = None,
    ) -> Audio | list[Audio]:
        """Go on from a prompt: the same voice in the same room, saying something new.

        The answer is the codec's rendering of the prompt and of what follows, decoded as one, so
        that there is no joint to be heard (paper, section III-D). It lasts as long as the prompt
        that was used and `seconds`, to the sample. From 20 s after the prompt on, a slow gain keeps
        the level near the prompt's (`audiolm.audio.level`).

        Args:
            prompt: a recording, or several of them. Several give a list; those of one length are
                continued as one batch, so that a result depends on the whole list and the seed.
            seconds: how much follows the prompt; the model's own length when None (7 of speech).
            prompt_seconds: of a longer prompt, how much is used, counted from its end; all when
                None, the model's own length (3 of speech) unless given. Up to 639 samples at its
                beginning are left out to make it whole semantic steps of 640 samples, at which the
                clocks of both kinds of token agree.
            seed: one seed gives one result, on one machine and version.
            sampling: by kind of stage, in place of the model's own and of the paper's.
            levels: how many of the codec's levels are made (the prompt is rendered with as many);
                the model's own number when None. Few enough leave the fine stage out.
            best_of: how many continuations of each prompt are drawn, as one batch; the answer is
                the one that the model's own parts judge best (`audiolm.reranking`).
            acoustic: how coarse codes are made: "autoregressive", frame after frame, or "parallel",
                all frames at once; the model's own way when None.
            passes: of the parallel stage for each level; its own numbers when None.
            baseline: "acoustic-only" leaves the semantic stage out (section III-B): it keeps the
                voice and loses the content.
            continuation_only: leave the prompt out of the answer.
            mark: put the inaudible mark (`audiolm.safety.watermark`) into what follows the prompt;
                of the prompt no sample is changed.
            progress: is told how far each stage is.

        Raises:
            AudioError: a prompt is shorter than half a second.
            ConfigurationError: a setting has a value that cannot be.
            ModelFolderError: the model lacks a stage that this takes.

        Warns:
            PromptCutWarning: a prompt is longer than `prompt_seconds`.
        """
        check_baseline(baseline)
        if baseline is not None and (acoustic is not None or passes is not None):
            raise ConfigurationError(
                "acoustic, passes: the baseline makes codes in its own way; leave them or it out"
            )
        seconds = check_seconds("seconds", self.info.seconds if seconds is None else seconds)
        prompt_seconds = self._own(prompt_seconds)
        best_of = checked_best_of(best_of)
        cut = []  # each (T,)
        # A warning is said to come from the caller: level 2 is here, 3 the caller. A loop, because
        # a comprehension may be a level of its own.
        for recording in _recordings(prompt):
            cut.append(prompt_samples(recording, prompt_seconds, stacklevel=3))
        run = self.pipeline(seed, sampling, progress, levels, acoustic, passes)
        mode = "continuation" if baseline is None else f"continuation, {baseline}"
        answers: dict[int, Audio] = {}
        for length in dict.fromkeys(len(samples) for samples in cut):
            rows = [row for row, samples in enumerate(cut) if len(samples) == length]
            skip = length if continuation_only else 0
            with self._inference():
                waveform = torch.from_numpy(np.stack([cut[row] for row in rows])).to(self.device)
                answer = continued(
                    self.codec,
                    self.semantic,
                    run,
                    waveform,
                    seconds,
                    baseline=baseline,
                    best_of=best_of,
                )  # (B, T)
            origin = self._origin(mode, seed, mark, length)
            made = marked(answer, origin, prompt=length, skip=skip)
            answers |= zip(rows, made, strict=True)
        ordered = [answers[row] for row in range(len(cut))]
        return ordered[0] if isinstance(prompt, Audio) else ordered

    def stream(
        self,
        prompt: Audio | None,
        seconds: float | None = None,
        *,
        prompt_seconds: float | Literal["default"] | None = "default",
        seed: int = 0,
        sampling: Mapping[str, Sampling] | None = None,
        levels: int | None = None,
        baseline: Literal["acoustic-only"] | None = None,
        continuation_only: bool = True,
        mark: bool = True,
    ) -> Generator[Audio, None, None]:
        """`continuation` as it is made: chunks of what follows the prompt, for as long as one asks.

        Frames come one after the other, so coarse codes are made autoregressively. The tokens are
        those of `continuation(acoustic="autoregressive")` with the same seed, the samples too, to
        within 1e-4 (the tolerance of a codec's streams), and the level is held in the same way. The
        first chunk is short, so that it comes soon, later ones last half a second; a model whose
        fine stage is used gives a chunk of that stage at a time. Memory and the work of a chunk do
        not grow with what was made. Nothing is computed before a chunk is asked for; `close()` ends
        it at any time.

        Args:
            prompt: one recording; None goes on from nothing, as `unconditional`.
            seconds: how much follows the prompt; without end when None.
            prompt_seconds, seed, sampling, levels, baseline: as `continuation`.
            continuation_only: leave the prompt out; else its rendering is the first chunk.
            mark: as `continuation`; it holds 20 ms of the sound back.

        Raises and Warns: as `continuation`, at the call.
        """
        check_baseline(baseline)
        seconds = None if seconds is None else check_seconds("seconds", seconds)
        prompt_seconds = self._own(prompt_seconds)
        samples = None if prompt is None else prompt_samples(prompt, prompt_seconds, stacklevel=3)
        acoustic: Acoustic | None = None if baseline else "autoregressive"
        run = self.pipeline(seed, sampling, None, levels, acoustic)
        mode = "unconditional" if prompt is None else "continuation"
        mode = mode if baseline is None else f"{mode}, {baseline}"
        origin = self._origin(mode, seed, mark, 0 if samples is None else len(samples))
        return stream(
            self.codec,
            self.semantic,
            run,
            samples,
            seconds,
            baseline=baseline,
            continuation_only=continuation_only,
            origin=origin,
        )

    def _origin(self, mode: str, seed: int, mark: bool, prompt: int = 0) -> Origin:
        """What is to be said of a sound that goes on from so many samples of a prompt."""
        seconds = prompt / SAMPLE_RATE
        return Origin(self.name, self.fingerprint, mode, checked_seed(seed), seconds, bool(mark))

    def _own(self, prompt_seconds: float | Literal["default"] | None) -> float | None:
        """How much of a prompt is used: as asked, else as the model has it; all when None."""
        return self.info.prompt_seconds if prompt_seconds == "default" else prompt_seconds

    def acoustic_generation(
        self,
        audio: Audio,
        *,
        seed: int = 0,
        sampling: Mapping[str, Sampling] | None = None,
        levels: int | None = None,
        best_of: int = 1,
        acoustic: Acoustic | None = None,
        passes: Sequence[int] | None = None,
        mark: bool = True,
        progress: Progress | None = None,
    ) -> Audio:
        """Say what `audio` says in another voice and another room (paper, section III-D).

        The semantic ids are those of the recording, the codes are drawn anew. The answer is as long
        as the recording; of `best_of` draws, the one whose semantic ids are heard best. All of it
        is marked, unless `mark` is false.

        Raises:
            AudioError, ConfigurationError, ModelFolderError: as `continuation`.
        """
        best_of = checked_best_of(best_of)
        run = self.pipeline(seed, sampling, progress, levels, acoustic, passes)
        with self._inference():
            waveform = self._waveform(audio)  # (1, T)
            answer = said_in_any_voice(self.codec, self.semantic, run, waveform, best_of)
        return marked(answer, self._origin("acoustic generation", seed, mark))[0]

    def unconditional(
        self,
        seconds: float = 10.0,
        *,
        seed: int = 0,
        sampling: Mapping[str, Sampling] | None = None,
        levels: int | None = None,
        best_of: int = 1,
        acoustic: Acoustic | None = None,
        passes: Sequence[int] | None = None,
        mark: bool = True,
        progress: Progress | None = None,
    ) -> Audio:
        """Say anything in any voice: all stages without a prompt (paper, section III-D).

        Of `best_of` renderings of what is said, the answer is the one that is heard best. All of it
        is marked, unless `mark` is false.

        Raises:
            ConfigurationError, ModelFolderError: as `continuation`.
        """
        seconds, best_of = check_seconds("seconds", seconds), checked_best_of(best_of)
        run = self.pipeline(seed, sampling, progress, levels, acoustic, passes)
        with self._inference():
            answer = from_nothing(self.codec, self.semantic, run, seconds, best_of)
        return marked(answer, self._origin("unconditional", seed, mark))[0]

    def edit(
        self,
        audio: Audio,
        start: float,
        end: float,
        seconds: float | None = None,
        *,
        keep_content: bool = False,
        seed: int = 0,
        sampling: Mapping[str, Sampling] | None = None,
        levels: int | None = None,
        best_of: int = 4,
        passes: Sequence[int] | None = None,
        mark: bool = True,
        progress: Progress | None = None,
    ) -> Audio:
        """Say anew what stands between two points of a recording, in its voice, joined to it.

        The answer has the recording's sample rate, and outside the gap and a cross-fade of
        `audiolm.editing.FADE_SECONDS` on either side every sample is the recording's own. What is
        made has no sound above 8 kHz, as everything the codec makes.

        Args:
            audio: the recording.
            start, end: the gap, in seconds from its beginning; it may begin or end the recording.
            seconds: how long the new inside is; as long as the gap when None.
            keep_content: keep what is said (its semantic ids), and make only the sound anew.
            seed, sampling, levels, passes, progress: as `continuation`.
            best_of: how many insides are drawn; the one is kept after which the far side is
                likeliest (with `keep_content`, the sound in which the content is heard best).
            mark: put the mark into what is made (`audiolm.safety.watermark`).

        Raises:
            AudioError: `audio` is no recording.
            ConfigurationError: the gap is none of this recording, or a setting cannot be.
            ModelFolderError: the model lacks a parallel stage, or its semantic stage has not learnt
                to fill the middle; it says what to train.
        """
        best_of = checked_best_of(best_of)
        gap = checked_gap(require_audio(audio, "audio"), start, end, seconds, keep_content)
        check_stages(self.stages, audio, gap, keep_content)
        run = self.pipeline(seed, sampling, progress, levels, "parallel", passes)
        kept = len(audio.samples) - (gap.stop - gap.start)
        origin = replace(self._origin("edit", seed, mark), prompt_seconds=kept / audio.sample_rate)
        with self._inference():
            made = made_piece(
                self.codec,
                self.semantic,
                run,
                audio,
                gap,
                keep_content=keep_content,
                best_of=best_of,
                payload=Payload.of_model(self.name, self.fingerprint) if origin.marked else None,
            )
        return replace(joined(audio, made, gap), origin=origin)

    def reconstruction(self, audio: Audio, levels: int | None = None) -> Audio:
        """What the codec makes of a recording, with its first `levels` levels, all when None.

        However long it is, it goes through the codec in chunks; `reconstruct_stream` needs not even
        the recording in memory. It says what the recording says, in its voice: nothing is made up,
        and nothing is marked.

        Raises:
            AudioError: the recording is empty.
            ConfigurationError: the codec does not have so many levels.
        """
        levels = self.check_levels(levels)
        with self._inference():
            waveform = self._waveform(audio)  # (1, T)
            codes = encode_in_chunks(self.codec, waveform, levels)  # (1, levels, F)
            decoded = decode_in_chunks(self.codec, codes)  # (1, F * 320)
            return _audios(decoded[:, : waveform.shape[1]])[0]

    def reconstruct_stream(
        self, chunks: Iterable[np.ndarray | Tensor], levels: int | None = None
    ) -> Iterator[np.ndarray]:
        """`reconstruction` of a recording that comes in chunks: an hour in the memory of seconds.

        Args:
            chunks: samples (T,) at 16 kHz, any lengths, one recording after all.
            levels: how many of the codec's levels are used; all when None.

        Returns:
            float32 chunks, together as long as the input; `reconstruction` to within 1e-4.

        Raises:
            ConfigurationError: the codec does not have so many levels.
            AudioError: while iterating: a chunk is not (T,) finite numbers.
        """
        return reconstruct_chunks(self.codec, chunks, self.check_levels(levels))

    def tokenize(self, audio: Audio) -> Tokens:
        """A recording as semantic ids and codes, on the CPU; tensors that one can train on.

        Raises:
            AudioError: the recording is empty.
        """
        with self._inference():
            waveform = self._waveform(audio)  # (1, T)
            semantic = self.semantic.encode(waveform)[0].cpu()
            acoustic = encode_in_chunks(self.codec, waveform)[0].cpu()
        with torch.inference_mode(False):  # a clone made here is an ordinary tensor
            return Tokens(semantic.clone(), acoustic.clone())

    def decode(self, tokens: Tokens | Tensor | np.ndarray) -> Audio:
        """The waveform that codes stand for, 320 samples a frame; never marked.

        Args:
            tokens: what `tokenize` returns, or codes alone: (q, F), or (1, q, F), whole numbers of
                any type, as a tensor, an array or nested lists.

        Raises:
            ConfigurationError: the codes are not ids of this codec.
        """
        codes = checked_codes(tokens, self.codec.levels, self.codec.codebook_size)  # (1, q, F)
        with self._inference():
            return _audios(decode_in_chunks(self.codec, codes.to(self.device)))[0]

    def check_levels(self, levels: object) -> int | None:
        """A number of levels, or None; ConfigurationError where the codec has not so many."""
        return None if levels is None else checked_levels(levels, self.codec.levels)

    @contextmanager
    def _inference(self) -> Iterator[None]:
        """No gradients, and PyTorch's own defaults whatever the caller has set."""
        with torch.inference_mode(), torch_defaults(self.device):
            yield

    def _waveform(self, audio: Audio) -> Waveform:
        """A recording as (1, T) at 16 kHz on the model's device."""
        samples = require_audio(audio, "audio").resampled(SAMPLE_RATE).samples
        if not len(samples):
            raise AudioError("audio: there are no samples in it; read a recording that has some")
        return torch.from_numpy(samples)[None].to(self.device)


def _recordings(prompt: Audio | Sequence[Audio]) -> list[Audio]:
    """One prompt or several as a list."""
    if isinstance(prompt, Audio):
        return [prompt]
    if isinstance(prompt, Iterable) and not isinstance(prompt, str | bytes):
        return list(prompt)
    return [require_audio(prompt, "prompt")]


def _audios(waveform: Waveform) -> list[Audio]:
    """A batch of waveforms (B, T) as recordings."""
    return [Audio(row, SAMPLE_RATE) for row in waveform.float().cpu().numpy()]
