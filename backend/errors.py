"""The errors that cross module borders. Expected states ("no model yet") are values, not errors."""


class BackendError(Exception):
    """Something that the caller or the operator can act on; its text says what was wanted, what came, what to do."""


class SettingsError(BackendError):
    """The environment does not make a usable configuration. Holds every problem, not only the first."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("cannot start:\n" + "\n".join(f"  - {problem}" for problem in problems))


class AwayError(BackendError):
    """A service does not answer now, and may later: it is worth waiting for."""


class RequestError(BackendError):
    """A request body is not what Label Studio's protocol says."""


class LabelConfigError(BackendError):
    """The project's labeling interface cannot be trained on or predicted for."""


class ImageError(BackendError):
    """One image cannot be fetched or read; other tasks are not affected."""


class ImageAwayError(ImageError):
    """One image cannot be fetched now, and may be later: the place where it lies does not answer."""


class LabelStudioError(BackendError):
    """Label Studio cannot be reached or refuses."""


class LabelStudioAwayError(LabelStudioError, AwayError):
    """Label Studio does not answer now, or what it needs for its answer does not."""


class AwsError(BackendError):
    """AWS cannot be reached, refuses, or answers with an error."""


class AwsAwayError(AwsError, AwayError):
    """AWS does not answer now."""


class AwsAccessError(AwsError):
    """AWS denies access: the operator must change a policy or the credentials."""


class AwsBusyError(AwsAwayError):
    """AWS is asked too much at once, or is not ready yet: asking less, and again, helps."""


class OutOfTimeError(AwsError):
    """The time for an answer was over before there was one."""
