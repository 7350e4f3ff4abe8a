"""What can go wrong, in words for the person who started the job."""


class SegmenterError(Exception):
    """Something that the person who started the job can put right; the message is one whole sentence."""


class ConfigError(SegmenterError):
    """A setting is missing or out of its range."""


class DataError(SegmenterError):
    """The channels hold nothing, or not what was agreed."""


class ModelError(SegmenterError):
    """The model's files are missing, broken or of an unknown kind."""


class ImageError(SegmenterError):
    """The bytes are not an image that can be read."""
