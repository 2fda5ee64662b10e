"""Recordings, codec, tokenizer → tokens on disk."""

from typing import TYPE_CHECKING

from audiolm.data.tokens import TokenStore
from audiolm.training.steps.step import Context, Step
from audiolm.training.tokenizing import TokenizingConfig, take_tokens, tokenize_corpus

if TYPE_CHECKING:
    from audiolm.training.preset import Preset


class TokensStep(Step):
    """Tokenizes the corpus; no codes where no stage is to read any."""

    name = "tokens"

    def training(self, preset: "Preset") -> TokenizingConfig:
        """How it is tokenized."""
        return preset.training.tokens

    def needs(self, context: Context) -> dict[str, str]:
        """Recordings, the tokenizer, and the codec where there are to be codes."""
        prints = {"recordings": context.recordings_fingerprint}
        if self._with_codes(context):
            prints["codec"] = context.codec().fingerprint()
        return prints | {"semantic": context.tokenizer().fingerprint()}

    def run(self, context: Context) -> dict[str, float]:
        """Write the tokens that are not there yet, or take them from a store of the corpus."""
        config = context.preset.training.tokens
        codec = context.codec().to(context.device) if self._with_codes(context) else None
        tokenizer = context.tokenizer().to(context.device)
        made = None if config.store is None else TokenStore(config.store)
        if made is not None:
            made.require(codec.fingerprint() if codec else "", tokenizer.fingerprint())
        train, validation = context.recordings
        parts = {"train": train.at_speeds(config.speed_perturbation), "validation": validation}
        metrics: dict[str, float] = {}
        for name, recordings in parts.items():
            place = self.folder(context).path / name
            if made is not None:
                store = take_tokens(made, recordings, place, config, context.world)
            else:
                with context.reporter.bar(f"tokens {name}") as bar:
                    store = tokenize_corpus(
                        codec, tokenizer, recordings, place, config, context.world, bar
                    )
            metrics |= {
                f"{name} {key}": value
                for key, value in store.statistics.items()
                if isinstance(value, int | float)
            }
        context.reporter.report(self.name, metrics)
        return metrics

    def _with_codes(self, context: Context) -> bool:
        """Whether a stage that is wanted reads codes, or none is named yet."""
        read = {part for s in context.steps if s.name in context.wanted for part in s.reads_tokens}
        return "codec" in read or not read
