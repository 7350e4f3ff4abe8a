"""How tasks refer to images."""

import base64
import urllib.parse

from backend.errors import ImageError


def normal(reference: str) -> str:
    """The reference with its scheme in small letters: ``HTTPS://...`` is ``https://...`` (RFC 3986, 3.1).

    Raises:
        ImageError: it is no text that could be sent anywhere.
    """
    try:
        reference.encode()
    except UnicodeEncodeError as error:
        raise ImageError(f"the image's address is no text: {error.reason} at character {error.start}") from error
    scheme, colon, rest = reference.partition(":")
    return f"{scheme.lower()}{colon}{rest}" if scheme.isalnum() else reference


def decode_data_uri(uri: str) -> bytes:
    """The bytes of a ``data:`` address, as browsers read them (fetch.spec.whatwg.org, "data: URL processor").

    Base64 may be percent-encoded, lack the padding at its end and have spaces in it.

    Raises:
        ImageError: it is not base64 where it says so.
    """
    header, _, text = uri.partition(",")
    body = urllib.parse.unquote_to_bytes(text)
    if not header.rstrip().lower().endswith(";base64"):
        return body
    packed = b"".join(body.split())
    try:
        return base64.b64decode(packed + b"=" * (-len(packed) % 4), validate=True)
    except ValueError as error:
        raise ImageError(f"the task's data: address cannot be read: {error}") from error
