"""The one error of everything that reads bodies."""


class Undecodable(ValueError):
    """The body is not what its content type says, or exceeds a limit; the text is for the sender."""
