"""The exceptions a caller may want to tell apart.

    AudioLMError
     ├── AudioError           a recording that cannot be read, used or written
     ├── ModelFolderError     a model folder with a missing, truncated, altered or unknown part
     ├── ConfigurationError   a setting that does not exist or cannot be
     ├── CorpusError          a folder of recordings or of tokens that cannot be used
     └── TrainingError        training cannot start, or went wrong

A message names the file or the key, what is wrong, and the remedy, in one line.
"""


class AudioLMError(Exception):
    """Whatever this package raises for bad input; the command line prints it and exits with 2."""


class AudioError(AudioLMError):
    """A recording cannot be read, used or written."""


class ModelFolderError(AudioLMError):
    """A model folder is missing, incomplete, altered, or its parts do not belong together."""


class ConfigurationError(AudioLMError):
    """A setting does not exist or has a value that cannot be."""


class CorpusError(AudioLMError):
    """A folder of recordings or of tokens cannot be used."""


class TrainingError(AudioLMError):
    """Training cannot start, or went wrong; what it had learnt is kept."""
