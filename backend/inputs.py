"""What people give a set-up, checked before it is used: labels, an interface, a place in the bucket, addresses."""

import ipaddress
import itertools
import math
import re
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

from backend.errors import BackendError, LabelConfigError
from backend.regions import parse_label_config

_COLOURS = ("#D4380D", "#FFC069", "#1677FF", "#389E0D", "#722ED1", "#13C2C2", "#EB2F96", "#AD8B00")

_FOLDER = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")  # as the templates of infra/ take one
_FOLDER_LENGTH = 60
_INSTANCE = re.compile(r"ml\.[a-z0-9-]+\.[a-z0-9]+")
_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-\d+")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_LARGEST_BUDGET = 1_000_000


@dataclass(frozen=True, slots=True)
class Folders:
    """Two folders of the bucket, each ending in a slash."""

    images: str
    annotations: str


FOLDERS = Folders("images/", "annotations/")  # where nobody says otherwise


def label_names(text: str) -> tuple[str, ...]:
    """The labels in a list with commas, each once, in their order.

    Raises:
        LabelConfigError: there is none.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise LabelConfigError(f"--labels: wanted names with commas between them, got {text!r}")
    return names


def project_title(text: str) -> str:
    """A title as Label Studio keeps it: without spaces around it.

    Raises:
        BackendError: it is none.
    """
    title = text.strip()
    if not 3 <= len(title) <= 50:
        raise BackendError(f"--title: wanted 3 to 50 characters, as Label Studio does, got {text!r}")
    return title


def labeling_interface(labels: Sequence[str]) -> str:
    """An interface to draw polygons with these labels."""
    tags = "".join(
        f"    <Label value={quoteattr(label)} background={quoteattr(colour)}/>\n"
        for label, colour in zip(labels, itertools.cycle(_COLOURS), strict=False)
    )
    return (
        "<View>\n"
        '  <Image name="image" value="$image" zoom="true"/>\n'
        '  <PolygonLabels name="label" toName="image" strokeWidth="3" pointSize="small" opacity="0.4">\n'
        f"{tags}"
        "  </PolygonLabels>\n"
        "</View>"
    )


def read_labeling_interface(path: Path) -> str:
    """The labeling interface in a file.

    Raises:
        LabelConfigError: the file cannot be read, or what is in it cannot be trained on.
    """
    try:
        interface = path.read_text(encoding="utf-8")
        parse_label_config(interface)
    except (OSError, UnicodeDecodeError, LabelConfigError) as error:
        raise LabelConfigError(f"{path}: {error.strerror if isinstance(error, OSError) else error}") from error
    return interface


def key_prefix(text: str, what: str, *, own: str) -> str:
    """A folder of the bucket, ending in a slash; *own* is what the backend itself writes below.

    Raises:
        BackendError: it is the whole bucket, or has what the backend writes in it.
    """
    prefix = text.strip("/") + "/"
    if prefix == "/" or f"{own}/".startswith(prefix):
        raise BackendError(
            f"{what}: wanted a folder in the bucket, beside {own or 'what the backend writes'}, got {text!r}"
        )
    return prefix


def apart(folders: Folders) -> Folders:
    """The two folders, if neither lies in the other: images are counted in one, annotations in the other.

    Raises:
        BackendError: they do not lie apart.
    """
    if folders.images.startswith(folders.annotations) or folders.annotations.startswith(folders.images):
        raise BackendError(
            f"--images-prefix and --annotations-prefix: wanted two folders, one beside the other, got {folders.images} "
            f"and {folders.annotations}"
        )
    return folders


def stack_folder(text: str, what: str) -> str:
    """A folder of the bucket that the stacks' policies can name, without a slash at its end.

    Raises:
        BackendError: they cannot.
    """
    folder = text.strip("/")
    if not _FOLDER.fullmatch(folder) or len(folder) > _FOLDER_LENGTH:
        raise BackendError(
            f"{what}: wanted a folder of letters, digits, underscores, dots and hyphens, {_FOLDER_LENGTH} characters "
            f"at most, got {text!r}"
        )
    return folder


def email_address(text: str) -> str:
    """Who is told; '' for nobody.

    Raises:
        BackendError: it is no address.
    """
    if text and not _EMAIL.fullmatch(text):
        raise BackendError(f"--email: wanted an address like ann@example.com, or '' for nobody, got {text!r}")
    return text


def monthly_budget(text: str) -> str:
    """US dollars as AWS Budgets takes them; '0' for none.

    Raises:
        BackendError: it is no such amount.
    """
    try:
        amount = float(text)
    except ValueError:
        amount = math.nan
    if not 0 <= amount <= _LARGEST_BUDGET or 0 < amount < 0.01:
        raise BackendError(
            f"--budget: wanted US dollars a month, such as 50 or 12.50, up to {_LARGEST_BUDGET}, or 0 for none, got "
            f"{text!r}"
        )
    return f"{amount:.2f}".removesuffix(".00")


def networks(text: str) -> str:
    """Addresses and networks with commas between them, '' for any.

    Raises:
        BackendError: one is neither.
    """
    return ",".join(_network(each.strip()) for each in text.split(",")) if text.strip() else ""


def _network(text: str) -> str:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        wanted = "addresses or networks such as 203.0.113.7 or 203.0.113.0/24, with commas between them"
        raise BackendError(f"--allowed-ips: wanted {wanted}, got {text!r}") from error
    return str(network) if "/" in text else str(network.network_address)


def instance_type(text: str) -> str:
    """What an endpoint runs on.

    Raises:
        BackendError: it is not called as SageMaker's instance types are.
    """
    if not _INSTANCE.fullmatch(text):
        raise BackendError(f"SAGEMAKER_INSTANCE_TYPE: wanted one of SageMaker's such as ml.m5.large, got {text!r}")
    return text


def region_name(text: str) -> str:
    """Where all is made.

    Raises:
        BackendError: it is not called as AWS's regions are.
    """
    if not _REGION.fullmatch(text):
        raise BackendError(f"AWS_REGION: wanted a region of AWS such as eu-west-1, got {text!r}")
    return text


def http_url(text: str, what: str) -> str:
    """An address without a slash at its end.

    Raises:
        BackendError: it is no address of an HTTP server, or has a user, a password, a query or a fragment in it.
    """
    try:
        parts = urllib.parse.urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets without an IPv6 address, or a port that is no number
        usable = False
    if not usable or parts.query or parts.fragment or "@" in parts.netloc:
        # The text is not shown: it may have a password in it.
        raise BackendError(f"{what}: wanted an address like http://host.example:9090, without user and password")
    return text.rstrip("/")


def backend_url(text: str) -> str:
    """An ML backend's address as Label Studio is to have it.

    Raises:
        BackendError: it is no address, or one that Label Studio takes, but sends no events to.
    """
    url = http_url(text, "--backend-url")
    host = urllib.parse.urlsplit(url).hostname or ""
    if "." not in host and host != "localhost" and not _is_ip(host):
        raise BackendError(
            f"--backend-url: Label Studio sends no events to {host!r}, a host name without a dot; give the backend a "
            f"name with one, such as {host}.internal (in docker-compose: a network alias), and use that"
        )
    return url


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
