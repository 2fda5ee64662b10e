"""What may be chosen about the evaluation: one section per experiment, published choices
as defaults.

`audiolm evaluate --set content.recogniser=FOLDER` sets one of them. An experiment's section goes
into its results, and it is made again when its section has changed.
"""

from typing import Literal

from pydantic import Field

from audiolm.configuration import Configuration
from audiolm.stages import Acoustic


class AbxConfig(Configuration):
    """Phonetic ABX (Table I, Fig. 3)."""

    items: str = ""
    """An item file; every `*.item` below the data folder when empty."""
    features: tuple[str, ...] = ("mfcc", "mel", "layer", "semantic", "codec")
    """What is compared: `semantic` (centroids), `layer` (w2v-BERT before the quantizer) or
    `layer:L` (an earlier layer of it), `codec` (at each of `levels`), `mel`, `mfcc`."""
    levels: tuple[int, ...] = (1, 3, 4, 12)
    """Levels of the codec at which its quantizer's output is compared."""
    context: Literal["within", "any"] = "within"
    """Whether A, B and X share the phones before and after; `any` lets them differ."""
    max_size_group: int = Field(default=10, ge=2)
    """Tokens of one phone, context and speaker that are used at most, drawn by the seed."""
    max_x_across: int = Field(default=5, ge=1)
    """Other speakers that X is drawn from at most, for a speaker's A and B."""
    drop_last_frame: bool = True
    """Leave out the last frame of a token, as published metrics do; fastabx by default does not."""


class ReconstructionConfig(Configuration):
    """Quality of the codec (Table I)."""

    levels: tuple[int, ...] = (1, 2, 3, 4, 8, 12)
    """Levels of the codec that are decoded; those that it does not have are left out."""
    opus: tuple[float, ...] | None = None
    """Bitrates in kbit/s that the Opus encoder is asked for. When null 6, 8, 12, 16 and 24; for
    music the codec's own at each of `levels` and twice that (4 where it is less: Opus takes no less
    than about that), and 6 and 12."""
    visqol: Literal["auto", "speech", "audio"] = "auto"
    """ViSQOL's mode: 16 kHz speech, or 48 kHz audio for music. `auto` goes by the recordings: those
    of MAESTRO, and those with a table of notes (.tsv) beside them, are music."""
    recordings: int = Field(default=60, gt=0)
    """Recordings that are measured at most, spread over the speakers; `--limit` lowers it."""
    longest: float = Field(default=10.0, gt=0)
    """Seconds of a recording that are measured at most."""
    semantic_decoder_minutes: float = Field(default=10.0, ge=0)
    """How long a decoder is trained on semantic tokens alone; 0 leaves it out."""


class VoicingConfig(Configuration):
    """Hoarseness of the codec."""

    levels: tuple[int, ...] = (4, 12)
    """Levels of the codec that are decoded; those that it does not have are left out."""
    opus: tuple[float, ...] = (8, 12, 16)
    """Bitrates in kbit/s that the Opus encoder is asked for."""
    recordings: int = Field(default=60, gt=0)
    """Recordings that are measured at most, spread over the speakers; `--limit` lowers it."""
    longest: float = Field(default=10.0, gt=0)
    """Seconds of a recording that are measured at most."""


class MakingConfig(Configuration):
    """What an experiment may choose about how the model makes sound."""

    acoustic: Acoustic | None = None
    """How coarse codes are made, `parallel` or `autoregressive`; the model's own way when null."""
    passes: tuple[int, ...] | None = None
    """Passes of the parallel stage for each level; its own when null."""


class ContentConfig(MakingConfig):
    """Word and character errors (Table II)."""

    recogniser: str = "pocketsphinx"
    """`pocketsphinx`, or a local folder of a transformers Whisper, wav2vec2 or HuBERT-CTC."""
    samples: int = Field(default=3, gt=0)
    """Acoustic generations of each utterance."""
    shortest: float = Field(default=4.0, ge=0)
    """Seconds; shorter utterances are left out."""
    longest: float = Field(default=10.0, gt=0)
    """Seconds; longer utterances are left out."""


class SpeakerConfig(MakingConfig):
    """Speaker classification (Table III)."""

    validation_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of each speaker's recordings that the classifier is not trained on."""
    training_speakers: bool = False
    """Tell the voices from those of the corpus' training split too, where it has one, as the paper
    does: harder, and longer to train."""
    epochs: float = Field(default=10.0, gt=0)
    """How often the classifier is shown each second of the recordings, about."""
    minutes: float | None = Field(default=None, gt=0)
    """The classifier's training ends then even if that is earlier; no limit when None."""
    samples: int = Field(default=3, gt=0)
    """Acoustic generations of each utterance, and continuations of each prompt."""
    prompt_seconds: float = Field(default=3.0, ge=0.5)
    """Seconds from the beginning of a recording that are its prompt."""
    seconds: float = Field(default=7.0, ge=1)
    """Seconds that a continuation adds."""


class ProbesConfig(Configuration):
    """sWUGGY, sBLIMP and bits per token (Table IV, Fig. 3)."""

    split: str = "dev"
    """Folder below `lexical/` and `syntactic/`."""
    batch_seconds: float = Field(default=120.0, gt=0)
    """Sound that is scored at once."""
    ngram_hours: float = Field(default=2.0, ge=0)
    """Of what a layout names as training data, how much the unigram and bigram models see; they
    also see what the other held-out speakers say."""


class ContinuationConfig(MakingConfig):
    """Continuations of prompts (IV-F, IV-B)."""

    samples: int = Field(default=3, gt=0)
    """Continuations of each prompt."""
    prompt_seconds: float = Field(default=3.0, ge=0.5)
    """Seconds from the beginning of a recording that are its prompt."""
    seconds: float = Field(default=7.0, ge=1)
    """Seconds that a continuation adds."""
    baseline: bool = True
    """Measure the acoustic-only baseline beside it, where the model has that stage."""
    recogniser: str = "pocketsphinx"
    """As `content.recogniser`; empty: no metrics of words."""


class StreamConfig(Configuration):
    """Streams of many minutes. The defaults make six minutes of sound in all; for ten minutes of
    four prompts, which take some seven times as long, set prompts to 4 and minutes to 10."""

    prompts: int = Field(default=2, gt=0)
    """Prompts that are streamed at most, spread over the speakers; `--limit` lowers it."""
    prompt_seconds: float = Field(default=3.0, ge=0.5)
    """Seconds from the beginning of a recording that are its prompt."""
    minutes: int = Field(default=3, ge=1, le=60)
    """Minutes of each stream, up to an hour."""
    minute: float = Field(default=60.0, ge=1, le=60)
    """Seconds that are measured together."""


class EditConfig(Configuration):
    """A gap filled in."""

    recordings: int = Field(default=60, gt=0)
    """Recordings that are measured at most, spread over the speakers; `--limit` lowers it."""
    gap: float = Field(default=1.0, ge=0.5, le=5)
    """Seconds that are cut out of the middle of each, and filled."""
    shortest: float = Field(default=4.0, ge=2)
    """Seconds; shorter recordings are left out."""
    best_of: int = Field(default=4, ge=1, le=64)
    """Insides that are drawn, of which the best is kept."""


class DetectionConfig(MakingConfig):
    """Detection of synthetic speech (IV-H)."""

    prompt_seconds: float = Field(default=3.0, ge=0.5)
    """Seconds from the beginning of a recording that are its prompt."""
    seconds: float = Field(default=7.0, ge=1)
    """Seconds that follow, of the original and of the continuation."""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """Probability from which on sound counts as synthetic, where accuracies are balanced."""
    detector: str = ""
    """The model whose detector is judged; the one that is evaluated when empty (command line)."""
    lengths: tuple[float, ...] = (1, 3, 7, 10)
    """Seconds of which answers are compared; longer ones than `seconds` are continued anew, where
    recordings are long enough."""
    clips: int = Field(default=64, gt=0)
    """Clips under each condition and of each other generator at most; `--limit` lowers it."""
    conditions: bool = True
    """Measure what MP3, telephones, noise, rooms and the like leave of it."""
    generators: bool = True
    """Measure the baseline, other temperatures, the other way of making codes, `models`, and what
    espeak-ng and flite say where they are installed."""
    models: tuple[str, ...] = ()
    """Other models whose continuations the detector hears: names or folders."""
    corpora: tuple[str, ...] = ()
    """Folders of other recordings, of which false alarms are counted."""
    fitted_epochs: float = Field(default=10.0, ge=0)
    """How often a detector that is fitted here, on half of the speakers (the paper's protocol),
    hears each second; 0 leaves it out."""
    fitted_minutes: float | None = Field(default=10.0, gt=0)
    """It ends then even if that is earlier; no limit when null."""


class WatermarkConfig(MakingConfig):
    """The mark in what is made."""

    prompt_seconds: float = Field(default=3.0, ge=0.5)
    """Seconds from the beginning of a recording that are its prompt."""
    lengths: tuple[float, ...] = (1.0, 3.0, 7.0)
    """Seconds of marked sound that are read; the longest is how long continuations are."""
    conditions: tuple[str, ...] = ()
    """What happens to it before, names of `audiolm.safety.conditions`; all of them when empty."""
    clips: int = Field(default=20_000, gt=0)
    """Clips of recordings that are read at most, as many of each length, overlapping where there
    are not enough; with `--limit N` and where this is not set at most 100 N."""
    recogniser: str = "pocketsphinx"
    """As `content.recogniser`; empty: no metrics of words."""
    visqol: Literal["speech", "audio"] = "speech"
    """ViSQOL's mode: 16 kHz speech, or 48 kHz audio for music."""


class ListeningConfig(MakingConfig):
    """Listening tests (IV-G, IV-I)."""

    clips: int = Field(default=100, ge=2)
    """Clips of the first test; half of them are originals."""
    prompt_seconds: float = Field(default=3.0, ge=0.5)
    """Seconds of each clip that are original in any case."""
    seconds: float = Field(default=7.0, ge=1)
    """Seconds that follow the prompt in a clip."""
    pairs: int = Field(default=15, ge=0)
    """Pairs of the second test, where the model has an acoustic-only stage."""
    pair_prompt_seconds: float = Field(default=4.0, ge=0.5)
    """Seconds of prompt in a pair (paper, for piano: 4)."""
    pair_seconds: float = Field(default=20.0, ge=1)
    """Seconds that follow it (paper, for piano: 20)."""


class NotesConfig(Configuration):
    """Pitch and onset in features of piano (after Fig. 3)."""

    train: str = ""
    """Folder of recordings that the probe learns from, each with a table of notes beside it; no
    composition of the data folder may be among them."""
    features: tuple[str, ...] = ("nothing", "mel", "layers", "semantic", "codec")
    """What is read: `nothing` (the floor), `mel`, `layers` (all that the tokenizer holds) or
    `layer:L`, `semantic` (ids), `codec` (its quantizer's output)."""
    hours: float = Field(default=1.0, gt=0)
    """Of recordings that the probe learns from, at most; all features of them are in memory."""
    longest: float = Field(default=60.0, gt=0)
    """Seconds from the beginning of a recording that are heard at most."""


class MusicConfig(MakingConfig):
    """Continuations of music (IV-I)."""

    samples: int = Field(default=1, gt=0)
    """Continuations of each prompt."""
    places: int = Field(default=2, gt=0)
    """Prompts of each recording at most; each begins where the continuation of the last ends."""
    prompt_seconds: float | None = Field(default=None, ge=0.5)
    """Seconds of a prompt; the model's own when null (paper: 4)."""
    seconds: float | None = Field(default=None, ge=1)
    """Seconds that a continuation adds; the model's own when null (paper: 20)."""
    baseline: bool = True
    """Measure the acoustic-only baseline beside it, where the model has that stage."""
    unlabelled: bool = False
    """Take recordings for music that have no table of notes beside them; how well the transcriber
    does on them is then not known."""


class NextSegmentConfig(Configuration):
    """Which stretch of a piece follows (after IV-E, for IV-I)."""

    seconds: float = Field(default=4.0, ge=1)
    """Of each stretch."""
    rivals: int = Field(default=4, gt=0)
    """Wrong stretches of either kind that each true one is set against at most."""
    batch_seconds: float = Field(default=120.0, gt=0)
    """Sound that is scored at once."""
    unlabelled: bool = False
    """As `music.unlabelled`."""


class EvaluationConfig(Configuration):
    """All sections."""

    abx: AbxConfig = AbxConfig()
    """Phonetic ABX."""
    reconstruction: ReconstructionConfig = ReconstructionConfig()
    """Quality of the codec."""
    voicing: VoicingConfig = VoicingConfig()
    """Hoarseness of the codec."""
    content: ContentConfig = ContentConfig()
    """Word and character errors."""
    speaker: SpeakerConfig = SpeakerConfig()
    """Speaker classification."""
    probes: ProbesConfig = ProbesConfig()
    """Words and sentences."""
    continuation: ContinuationConfig = ContinuationConfig()
    """Continuations of prompts."""
    stream: StreamConfig = StreamConfig()
    """Streams of many minutes."""
    edit: EditConfig = EditConfig()
    """A gap filled in."""
    detection: DetectionConfig = DetectionConfig()
    """Detection of synthetic speech."""
    watermark: WatermarkConfig = WatermarkConfig()
    """The mark in what is made."""
    listening: ListeningConfig = ListeningConfig()
    """Listening tests."""
    notes: NotesConfig = NotesConfig()
    """Pitch and onset in features of piano."""
    music: MusicConfig = MusicConfig()
    """Continuations of music."""
    next_segment: NextSegmentConfig = NextSegmentConfig()
    """Which stretch of a piece follows."""
