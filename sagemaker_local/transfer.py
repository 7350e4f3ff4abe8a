"""Between S3 and a job's folder: prefixes, manifests, outputs, archives."""

from __future__ import annotations

import gzip
import json
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from sagemaker_local.errors import JobError, internal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mypy_boto3_s3 import S3Client

_DOWNLOADS_AT_ONCE = 16
_BLOCK = 1024 * 1024
_MISSING = ("404", "NoSuchKey", "NoSuchBucket")


@dataclass(frozen=True, slots=True)
class S3Uri:
    """`s3://bucket/key`; the key may be empty or end in a slash."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> S3Uri:
        """Take the URI apart; JobError if it is none."""
        bucket, _, key = text.removeprefix("s3://").partition("/")
        if not text.startswith("s3://") or not bucket:
            raise JobError(f"ClientError: {text!r} is not an S3 URI (s3://bucket/key)")
        return cls(bucket=bucket, key=key)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    def below(self, name: str) -> S3Uri:
        """The object `name` in this folder."""
        return S3Uri(self.bucket, f"{self.key.rstrip('/')}/{name}".lstrip("/"))


class Transfer:
    """Downloads and uploads with one S3 client, made when it is first needed. Usable from many threads."""

    def __init__(self, make_client: Callable[[], S3Client]) -> None:
        self._make_client = make_client
        self._client: S3Client | None = None
        self._lock = threading.Lock()

    @property
    def client(self) -> S3Client:
        """The S3 client."""
        with self._lock:
            if self._client is None:
                self._client = self._make_client()
            return self._client

    def read(self, uri: S3Uri) -> bytes:
        """One object's content."""
        with _s3_errors(uri):
            return self.client.get_object(Bucket=uri.bucket, Key=uri.key)["Body"].read()

    def download(self, uri: S3Uri, target: Path) -> None:
        """One object into a file; folders are made."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with _s3_errors(uri), target.open("wb") as file:
            for block in self.client.get_object(Bucket=uri.bucket, Key=uri.key)["Body"].iter_chunks(_BLOCK):
                file.write(block)

    def download_prefix(self, uri: S3Uri, folder: Path, *, stopped: Callable[[], bool]) -> None:
        """Everything in an S3 folder, or the one object of exactly this key, into a local folder.

        Folder-exact: `s3://b/train` means the object `train` and what lies in `train/`, not `train_annotation/`.
        """
        pairs = [(S3Uri(uri.bucket, key), _inside(folder, name)) for key, name in self._keys(uri)]
        if not pairs:
            raise JobError(
                f'ClientError: Data download failed:No S3 objects found under S3 URL "{uri}" given in input '
                "data source. Please ensure that the bucket exists and that objects exist under that S3 prefix."
            )
        self._download_all(pairs, stopped=stopped)

    def download_manifest(self, uri: S3Uri, folder: Path, *, stopped: Callable[[], bool]) -> None:
        """The objects that a manifest names, each at its key relative to the manifest's prefix."""
        prefix, names = _parse_manifest(uri, self.read(uri))
        pairs = [(S3Uri(prefix.bucket, prefix.key + name), _inside(folder, name)) for name in names]
        self._download_all(pairs, stopped=stopped)

    def upload(self, file: Path, uri: S3Uri) -> None:
        """One file to one object."""
        with _s3_errors(uri), file.open("rb") as body:
            self.client.put_object(Bucket=uri.bucket, Key=uri.key, Body=body)

    def upload_folder(self, folder: Path, uri: S3Uri, *, stopped: Callable[[], bool]) -> None:
        """Every file below the folder, at its relative path."""
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        _in_parallel(
            lambda path: self.upload(path, uri.below(path.relative_to(folder).as_posix())), files, stopped=stopped
        )

    def _keys(self, uri: S3Uri) -> Iterator[tuple[str, str]]:
        """(key, path below the folder) of everything that a URI means."""
        start = uri.key if not uri.key or uri.key.endswith("/") else f"{uri.key}/"
        with _s3_errors(uri):
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=uri.bucket, Prefix=uri.key)
            keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        for key in keys:
            if key == uri.key and key:
                yield key, PurePosixPath(key).name
            elif key.startswith(start) and not key.endswith("/"):
                yield key, key.removeprefix(start)

    def _download_all(self, pairs: list[tuple[S3Uri, Path]], *, stopped: Callable[[], bool]) -> None:
        _in_parallel(lambda pair: self.download(*pair), pairs, stopped=stopped)


def _in_parallel(work: Callable[[Any], None], items: Iterable[Any], *, stopped: Callable[[], bool]) -> None:
    """Do the work for each item in a few threads; the first error ends it, and so does a stop."""
    with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE, thread_name_prefix="transfer") as pool:
        futures = [pool.submit(_unless, stopped, work, item) for item in items]
        try:
            for future in futures:
                future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _unless(stopped: Callable[[], bool], work: Callable[[Any], None], item: Any) -> None:  # noqa: ANN401 - an item
    if not stopped():
        work(item)


def _inside(folder: Path, name: str) -> Path:
    """The file for a relative key; JobError if the key would leave the folder."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()) or name.startswith("/"):
        raise JobError(f"ClientError: the key {name!r} points outside of the input's folder")
    return path


def _parse_manifest(uri: S3Uri, content: bytes) -> tuple[S3Uri, list[str]]:
    try:
        first, *names = json.loads(content)
        prefix = first["prefix"]
    except (ValueError, TypeError, KeyError) as error:
        raise JobError(
            f"ClientError: Data download failed:{uri} is not a manifest: "
            'wanted [{"prefix": "s3://bucket/"}, "key", ...]'
        ) from error
    if not names or not all(isinstance(name, str) for name in names):
        raise JobError(f"ClientError: Data download failed:the manifest {uri} names no objects")
    return S3Uri.parse(prefix), names


@contextmanager
def _s3_errors(uri: S3Uri) -> Iterator[None]:
    """Turns the SDK's errors into the job's: what is missing or refused is the client's fault, the rest may pass."""
    try:
        yield
    except ClientError as error:
        raise _translated(uri, error) from error
    except BotoCoreError as error:
        raise internal(f"S3 did not answer for {uri}: {error}") from error


def _translated(uri: S3Uri, error: ClientError) -> JobError:
    if error.response["Error"]["Code"] in _MISSING:
        return JobError(f"ClientError: Data download failed:{uri} does not exist")
    if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
        return internal(f"S3 failed for {uri}: {error}")
    return JobError(f"ClientError: S3 refused {uri}: {error}")


def pack(folder: Path, archive: Path) -> None:
    """The folder as a .tar.gz whose bytes depend on its files' names and contents only; links are refused."""
    # Weights hardly shrink, so the fastest level.
    with archive.open("wb") as raw, gzip.GzipFile("", "wb", 1, raw, mtime=0) as zipped:
        _write_tar(folder, zipped)


def _write_tar(folder: Path, output: IO[bytes] | gzip.GzipFile) -> None:
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT, dereference=True) as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_symlink():
                raise JobError(f"ClientError: the model folder holds a symbolic link: {path.relative_to(folder)}")
            entry = tar.gettarinfo(path, arcname=path.relative_to(folder).as_posix())
            _make_anonymous(entry)
            if path.is_file():
                with path.open("rb") as content:
                    tar.addfile(entry, content)
            else:
                tar.addfile(entry)


def _make_anonymous(entry: tarfile.TarInfo) -> None:
    entry.mtime = entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o755 if entry.isdir() else 0o644


def unpack(archive: Path, folder: Path) -> None:
    """A .tar.gz into a folder; JobError if it is broken or would write outside of it."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise JobError(f"ClientError: the model archive cannot be unpacked: {error}") from error
