"""Which images a training gets: those that lie in the bucket already, and copies of others."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeAlias

from backend.config import Settings
from backend.dataset import Selection
from backend.errors import ImageAwayError, ImageError
from backend.references import normal

logger = logging.getLogger(__name__)
PATIENCE_SECONDS = 600.0  # how long training waits for images whose server is away
_AT_ONCE = 8
# Puts the image of a project's task, by its reference, into the bucket, and returns its key there.
Copy: TypeAlias = Callable[[int, str, int], str]


class PresentObjects(Protocol):
    """What this needs of S3."""

    def has_object(self, key: str) -> bool: ...


def no_copy(project: int, reference: str, task: int) -> str:  # noqa: ARG001  # a Copy for those who cannot make any
    """Where only images of the bucket are trained on.

    Raises:
        ImageError: always.
    """
    raise ImageError(f"wanted an image in the bucket, got {reference[:200]!r}; the trigger in Lambda copies none")


class BucketImages:
    """Finds the object keys of images; *copy* is for those that do not lie in ``S3_BUCKET`` yet."""

    def __init__(self, settings: Settings, *, store: PresentObjects, copy: Copy) -> None:
        self._bucket = settings.s3_bucket
        self._store = store
        self._copy = copy
        self._away: dict[str, float] = {}  # when a reference was first found to be away

    def keys(self, project: int, selection: Selection) -> dict[str, str]:
        """Object keys of the selected images in ``S3_BUCKET``, by their references.

        Images that lie there already are used in place. Those that cannot be had are left out and logged: a single one
        that is missing would make the whole job fail.

        Raises:
            ImageAwayError: one may be had later, and was not waited for long yet (PATIENCE_SECONDS).
        """
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="copy") as pool:
            tasks = selection.tasks
            keys = pool.map(lambda each: self._key(project, each.image, each.task), tasks)
            return {task.image: key for task, key in zip(tasks, keys, strict=True) if key is not None}

    def _key(self, project: int, reference: str, task: int) -> str | None:
        try:
            key = self._found(project, normal(reference), task)
            self._away.pop(reference, None)
        except ImageAwayError as error:
            if self._is_worth_waiting_for(reference):
                raise ImageAwayError(f"training waits for the image of task {task}: {error}") from error
            logger.warning("project %s: task %s is left out of training: %s", project, task, error)
        except ImageError as error:
            logger.warning("project %s: task %s is left out of training: %s", project, task, error)
        else:
            return key
        return None

    def _found(self, project: int, reference: str, task: int) -> str:
        own = f"s3://{self._bucket}/"
        if reference.startswith(own):
            return self._present(reference.removeprefix(own))
        return self._copy(project, reference, task)

    def _is_worth_waiting_for(self, reference: str) -> bool:
        """A server that is away for a moment must not cost labelled images; one that stays away must not stop all."""
        now = time.monotonic()
        return now - self._away.setdefault(reference, now) < PATIENCE_SECONDS

    def _present(self, key: str) -> str:
        if not self._store.has_object(key):
            raise ImageError(f"there is no object {key[:200]} in {self._bucket}")
        return key
