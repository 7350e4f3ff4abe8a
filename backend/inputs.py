"""What people give a set-up, checked before it is used: labels, an interface, a place in the bucket, addresses."""

import ipaddress
import itertools
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

from backend.errors import BackendError, LabelConfigError
from backend.regions import parse_label_config

_COLOURS = ("#D4380D", "#FFC069", "#1677FF", "#389E0D", "#722ED1", "#13C2C2", "#EB2F96", "#AD8B00")


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
