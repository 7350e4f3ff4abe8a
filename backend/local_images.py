"""The images in a folder of this machine, as they are to lie in S3."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from backend.errors import BackendError, ImageError
from backend.images import require_image

CONTENT_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".bmp": "image/bmp",
}
"""What a browser shows and Pillow reads, by the ends of the names."""

REGEX = r"(?i).*\.(" + "|".join(end.removeprefix(".") for end in CONTENT_TYPES) + ")$"
"""Finds the keys of such images."""


@dataclass(frozen=True, slots=True)
class LocalImage:
    """A file with the name of an image; *name* is its path in the folder, with slashes."""

    path: Path
    name: str
    size: int

    @property
    def content_type(self) -> str:
        """The media type by the name's end."""
        return CONTENT_TYPES[self.path.suffix.lower()]

    def read(self) -> bytes:
        """The file's bytes.

        Raises:
            ImageError: it cannot be read, or is no image whatever its name says.
        """
        try:
            body = self.path.read_bytes()
        except OSError as error:
            raise ImageError(str(error.strerror)) from error
        require_image(body)
        return body


def find_images(folder: Path) -> tuple[list[LocalImage], list[str]]:
    """The images in *folder* and the folders in it, by their names, and the names of files that are none.

    Whatever has a hidden part in its path is passed over.

    Raises:
        BackendError: there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        what = "no folder" if folder.exists() else "not there"
        raise BackendError(f"wanted a folder with images, but {folder} is {what}")
    images, others = [], []
    for path in sorted(_files(folder)):
        name = path.relative_to(folder).as_posix()
        if path.suffix.lower() in CONTENT_TYPES and _is_text(name):
            images.append(LocalImage(path, name, path.stat().st_size))
        else:
            others.append(name)
    if not images:
        wanted = ", ".join(end.removeprefix(".") for end in CONTENT_TYPES)
        raise BackendError(f"wanted images ({wanted}) in the folder {folder}, found none")
    return images, others


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden:
            yield path


def _is_text(name: str) -> bool:
    """Whether a name can be a key in S3, which are UTF-8; a file's can be any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
