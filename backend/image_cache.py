"""Images that were made ready for the endpoint, kept on disk for all workers. Losing any of it loses nothing.

Each entry belongs to a project: whoever may open a project's tasks may see its images, but an image that one project
may read must not be had by another one that merely names it. So a signature in an address, which changes from day to
day, need not be part of the key; an entry is used for an hour, the longest that a revoked right may live on.
"""

import contextlib
import hashlib
import json
import logging
import os
import struct
import tempfile
import threading
import time
import urllib.parse
import zlib
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

MAX_AGE_SECONDS = 3600.0
# An entry: magic and the checksum of the rest; sizes; the JPEG.
_HEADER, _SIZES = struct.Struct("<4sI"), struct.Struct("<4I")
_MAGIC = b"LSP1"  # another one when what is made of an image changes
_TEMPORARY = ".writing-"
_LEFT_OVER_SECONDS = 600.0  # a process that writes takes less
_FILLED = 0.75  # what is kept when room is made
# What signs an address, and what goes with it: for S3, its older form and CloudFront, Google, Azure.
_SIGNATURES = {"x-amz-signature", "x-goog-signature", "signature", "sig"}
_SIGNED = {"awsaccesskeyid", "googleaccessid", "expires", "key-pair-id", "policy"}
_SIGNED_AZURE = {"sv", "ss", "srt", "sr", "sp", "spr", "sip", "st", "se", "skoid", "sktid", "skt", "ske", "sks", "skv"}


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """A JPEG for the endpoint, and the sizes (width, height) of it and of the image as shown."""

    jpeg: bytes
    sent_wh: tuple[int, int]
    shown_wh: tuple[int, int]


class ImageCache:
    """A folder with the images that were used last, in at most *megabytes*; several processes may share it.

    A disk that is full or cannot be written to keeps nothing and does no harm.
    """

    def __init__(self, folder: Path, *, megabytes: int, processes: int = 1) -> None:
        self._folder = folder
        self._room = megabytes * 2**20
        # What each process may write between two looks at the folder: all of them together stay within the room.
        self._unseen_room = int(self._room * (1 - _FILLED)) // processes
        self._unseen = self._unseen_room  # the first one looks: what lies there is not known
        self._lock = threading.Lock()
        self._told = False

    def get(self, key: str) -> PreparedImage | None:
        """The image kept under *key*, None where there is none that is whole and less than an hour old."""
        if not self._room:
            return None
        path = self._folder / key
        try:
            body, kept = path.read_bytes(), path.stat().st_mtime_ns
            if abs(time.time() - kept / 1e9) > MAX_AGE_SECONDS:
                return None
            image = _decoded(body)
            if image is None:
                path.unlink()
                return None
            os.utime(path, ns=(time.time_ns(), kept))  # when it was used last, and when it was fetched
        except OSError:
            return None
        return image

    def put(self, key: str, image: PreparedImage) -> None:
        """Keep *image* under *key*, if there is a way."""
        body = _encoded(image)
        if len(body) > self._unseen_room:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._make_room(len(body))
            self._write(key, body)
        except OSError as error:
            if not self._told:
                logger.warning("prepared images cannot be kept in %s (%s): each is fetched anew", self._folder, error)
            self._told = True

    def _write(self, key: str, body: bytes) -> None:
        """Whole or not at all, whatever happens meanwhile."""
        handle, name = tempfile.mkstemp(prefix=_TEMPORARY, dir=self._folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(body)
            Path(name).replace(self._folder / key)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise

    def _make_room(self, size: int) -> None:
        with self._lock:
            self._unseen += size
            if self._unseen <= self._unseen_room:
                return
            self._sweep()
            self._unseen = size

    def _sweep(self) -> None:
        """Delete the entries that were not used for longest, and what processes that died were writing."""
        entries, total = [], 0
        for path in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                status = path.stat()
                if path.name.startswith(_TEMPORARY):
                    if time.time() - status.st_mtime > _LEFT_OVER_SECONDS:
                        path.unlink()
                    continue
                entries.append((status.st_atime, status.st_size, path))
                total += status.st_size
        for _, size, path in sorted(entries):
            if total <= self._room * _FILLED:
                return
            path.unlink(missing_ok=True)
            total -= size


def cache_key(reference: str, *, project: int, side: int) -> str:
    """The name of an entry: what tells an image of a project, at the size that is sent, from any other one."""
    return hashlib.sha256(json.dumps([project, side, _unsigned(reference)]).encode()).hexdigest()


def _unsigned(reference: str) -> str:
    """An http(s) address without its signature; any other reference as it is."""
    address, mark, query = reference.partition("?")
    if not mark or not address.startswith(("http://", "https://")):
        return reference
    pairs = [(urllib.parse.unquote_plus(each.partition("=")[0]).lower(), each) for each in query.split("&")]
    names = {name for name, _ in pairs}
    if not names & _SIGNATURES:
        return reference
    gone = _SIGNATURES | _SIGNED | (_SIGNED_AZURE if "sig" in names else set())
    kept = [each for name, each in pairs if name not in gone and not name.startswith(("x-amz-", "x-goog-"))]
    return f"{address}?{'&'.join(kept)}"


def _encoded(image: PreparedImage) -> bytes:
    body = _SIZES.pack(*image.sent_wh, *image.shown_wh) + image.jpeg
    return _HEADER.pack(_MAGIC, zlib.crc32(body)) + body


def _decoded(entry: bytes) -> PreparedImage | None:
    """None where it is no entry, or a damaged one."""
    body = entry[_HEADER.size :]
    if len(body) < _SIZES.size or entry[: _HEADER.size] != _HEADER.pack(_MAGIC, zlib.crc32(body)):
        return None
    width, height, shown_width, shown_height = _SIZES.unpack_from(body)
    return PreparedImage(body[_SIZES.size :], (width, height), (shown_width, shown_height))
