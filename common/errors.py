"""The root of every exception that lopsided raises on purpose."""


class LopsidedError(Exception):
    """A problem the user can act on: the message names the thing, the value seen and the way out.

    The command line prints the message without a traceback. Each part derives its own family from this class.
    """


class ImageError(LopsidedError):
    """An image file or tensor that cannot be used as it is."""


class SourceError(LopsidedError):
    """A folder, manifest or embedded set of images that cannot be used as it is."""
