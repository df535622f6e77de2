"""The one error of all fingerprints."""


class UnidentifiedError(ValueError):
    """What something computes cannot be told from what another would; the message says why."""
