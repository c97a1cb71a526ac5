"""Errors that a person at the terminal is told in one line.

CommandError
├── DownloadError        the weights could not be fetched
│   └── HashError        they came, and are not the ones expected
├── CheckpointError      a weights file is missing, unsafe or of another model
├── LabelsError          a labels file is missing, malformed or of the wrong length
└── ArchiveError         the .mar could not be built or read
"""


class CommandError(Exception):
    """A command cannot go on. Its text is one line, says why, and where it can says what to do instead."""


class DownloadError(CommandError):
    """No network, a refusal, or a connection cut short."""


class HashError(DownloadError):
    """Bytes that are not the ones expected: cut short, or somebody else's."""


class CheckpointError(CommandError):
    """A weights file that is missing, holds more than tensors, or does not fit the architecture."""


class LabelsError(CommandError):
    """A labels file that is missing, malformed, or names another number of classes than the weights have."""


class ArchiveError(CommandError):
    """An archive that could not be built or read."""


def in_one_line(error: OSError) -> str:
    """What to tell of an error that names a file: nearly always a folder of somebody else."""
    return f"cannot use {error.filename}: {error.strerror}; run this as a user who may, or name another"
