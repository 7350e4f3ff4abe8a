"""The Lambda function's code as a zip file: pure Python, made without docker, the same bytes on every machine.

It has the modules that the handler needs and the packages that these need, but not boto3: Lambda's runtime brings it
along and AWS keeps it up to date. What is called of it is years older than any version there.
"""

import ast
import importlib.metadata
import io
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from backend.errors import BackendError

HANDLER = "backend.aws_lambda.handler"
RUNTIME, ARCHITECTURE = "python3.13", "arm64"  # as Lambda names them
MAX_BYTES = 1_000_000  # Lambda takes 50 MB at once; what is larger than this was packed by mistake
_IN_RUNTIME = {"boto3", "botocore"}
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # that a zip file can tell
_PERMISSIONS = 0o100644 << 16
_FOLDER = Path(__file__).parent


def build_package() -> bytes:
    """The zip file.

    Raises:
        BackendError: a package that it needs is not installed, or not of pure Python, or the file became too large.
    """
    modules = _modules()
    files = {f"{name.replace('.', '/')}.py": path.read_bytes() for name, path in modules.items()}
    files["backend/__init__.py"] = (_FOLDER / "__init__.py").read_bytes()
    there = {*sys.stdlib_module_names, *_IN_RUNTIME, "backend"}
    for package in {name.partition(".")[0] for path in modules.values() for name in _imports(path)} - there:
        files |= _package(package)
    body = _zipped(files)
    if len(body) > MAX_BYTES:
        raise BackendError(f"wanted a Lambda package of at most {MAX_BYTES} bytes, got {len(body)}")
    return body


def _modules() -> dict[str, Path]:
    """The handler's module and all that it loads of this package, now or later, by name."""
    found: dict[str, Path] = {}
    waiting = [HANDLER.rpartition(".")[0]]
    while waiting:
        name = waiting.pop()
        path = _FOLDER / f"{name.removeprefix('backend.')}.py"
        if name not in found and name.startswith("backend."):
            found[name] = path
            waiting += _imports(path)
    return found


def _imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, inside of functions too, but not those for the type checker alone."""
    waiting: list[ast.AST] = [ast.parse(path.read_bytes())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "backend":
            yield from (f"backend.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def _package(name: str) -> dict[str, bytes]:
    """The modules of an installed package, and its licence."""
    try:
        installed = importlib.metadata.files(name) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise BackendError(f"the Lambda package needs {name}, which is not installed; see requirements.txt") from error
    wanted = [each for each in installed if each.suffix == ".py" or each.name.startswith("LICENSE")]
    strange = [str(each) for each in installed if each.suffix in {".so", ".pyd"}]
    if strange or not wanted:
        raise BackendError(f"wanted {name} as pure Python, to run on {ARCHITECTURE}; it has {strange or 'no modules'}")
    return {each.as_posix(): Path(str(each.locate())).read_bytes() for each in wanted}


def _zipped(files: Mapping[str, bytes]) -> bytes:
    """Sorted, without times and users, and not packed, since the packing differs between versions of zlib."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as package:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _EARLIEST)
            entry.create_system, entry.external_attr = 3, _PERMISSIONS  # 3 is Unix, wherever it is made
            package.writestr(entry, files[name])
    return buffer.getvalue()
