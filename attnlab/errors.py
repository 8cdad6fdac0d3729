"""Errors that a user can mend: one message that names the config key, its value and what is allowed."""


class AttnlabError(Exception):
    """The user's to mend; the command line prints its message without a traceback."""


class ConfigError(AttnlabError, ValueError):
    """A config key has a value that cannot be used."""


class DataError(AttnlabError):
    """The dataset on disk is missing, incomplete or damaged."""


class TrainingError(AttnlabError):
    """Training cannot go on, e.g. its loss is no longer finite."""
