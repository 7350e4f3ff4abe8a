"""Fetching images by http(s) from hosts that may be asked, and never from the addresses that only a machine may know.

The address is looked at when a connection is made, after its name was resolved and again at each redirect, and it is
that very address which is connected to: a name that resolves to something else a moment later gains nothing.
"""

import contextlib
import fnmatch
import functools
import http.cookiejar
import ipaddress
import re
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias

import httpcore
import httpx

from backend.config import Settings, s3_endpoint
from backend.errors import ImageAwayError, ImageError

TOTAL_SECONDS = 60.0  # for a whole file, redirects included
_TIMEOUT = httpx.Timeout(20.0, connect=5.0)  # for each of its pieces
_REDIRECTS = 5
_AS_IT_IS = {"Accept-Encoding": "identity"}

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve: TypeAlias = Callable[[str, int], list[str]]

# Link-local ones, where clouds tell a machine its credentials, and those of their services that lie elsewhere; besides
# what is no host at all. Loopback and private networks are let pass: Label Studio and S3 often lie there.
NEVER = tuple(
    map(
        ipaddress.ip_network,
        (
            *("169.254.0.0/16", "fe80::/10"),
            *("fd00:ec2::/32", "fd20:ce::254/128", "fd00:42::42/128"),  # AWS, Google and Scaleway over IPv6
            *("100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"),  # Alibaba, Azure, Oracle
            *("0.0.0.0/8", "::/128", "224.0.0.0/4", "ff00::/8", "255.255.255.255/32"),
        ),
    )
)
# Forms of IPv6 whose last four bytes are an address of IPv4: mapped, compatible, NAT64.
_HOLDING_IPV4 = tuple(map(ipaddress.IPv6Network, ("::ffff:0:0/96", "::/96", "64:ff9b::/96", "64:ff9b:1::/48")))
# The names of metadata services: a proxy resolves what we perhaps cannot.
_METADATA = re.compile(
    r"(.*\.)?(metadata|instance-data)(\.(google|azure)\.internal|\.goog|\.tencentyun\.com|\.ec2\.internal)?"
)
# S3 itself, as presigned addresses have it; not whatever else lies below amazonaws.com.
_S3 = re.compile(
    r"(.+\.)?s3(-accelerate|-fips)?(\.dualstack)?([.-][a-z]{2}(-[a-z]+)+-\d)?\.amazonaws\.com(\.cn)?", re.ASCII
)
_until: ContextVar[float] = ContextVar("until", default=float("inf"))  # when the download of this thread is to end


class Downloads:
    """Gets files by their http(s) addresses."""

    def __init__(self, hosts: str = "*", *, always: Iterable[str] = (), resolve: Resolve | None = None) -> None:
        """Connect to hosts that match.

        Args:
            hosts: patterns with commas between (``IMAGE_HOSTS``).
            always: addresses whose hosts may be asked whatever *hosts* says; so may S3.
            resolve: name and port -> addresses; by the system if left out.
        """
        self._rules = _Rules(hosts, {httpx.URL(each).host for each in always if each}, resolve or _addresses)

    @classmethod
    def by(cls, settings: Settings) -> "Downloads":
        """Those that the settings allow."""
        return cls(settings.image_hosts, always=(settings.label_studio_url, s3_endpoint()))

    @functools.cached_property
    def _client(self) -> httpx.Client:
        """Made at first use, since reading the certificates takes its time and few programs fetch anything."""
        return httpx.Client(
            transport=_Transport(self._rules),
            timeout=_TIMEOUT,
            follow_redirects=True,
            max_redirects=_REDIRECTS,
            cookies=http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[])),  # keeps none
        )

    def close(self) -> None:
        """Close the connections."""
        if "_client" in vars(self):
            self._client.close()

    def get(self, url: str, *, limit: int, headers: Mapping[str, str] | None = None) -> bytes:
        """The bytes at *url*; *headers* with an authorization are not handed on to another host.

        Raises:
            ImageError: they are not there, are more than *limit*, or must not be asked for; an ImageAwayError where
                they may be had later.
        """
        ends = _until.set(time.monotonic() + TOTAL_SECONDS)
        try:
            with self._client.stream("GET", url, headers={**(headers or {}), **_AS_IT_IS}) as response:
                response.raise_for_status()
                _require_plain(response, url)
                return b"".join(_within(limit, response.iter_raw(), url))
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:  # the last: of a name that can be no host
            kind = ImageError if _is_final(error) else ImageAwayError
            raise kind(f"cannot fetch {public(url)}: {_reason(error)}") from error
        finally:
            _until.reset(ends)


def public(url: str) -> str:
    """An address without its query and its user: a signature or a password in them opens the file to anybody."""
    scheme, separator, rest = url.partition("?")[0].rpartition("://")
    server, slash, path = rest.partition("/")
    return f"{scheme}{separator}{server.rpartition('@')[2]}{slash}{path}"[:200]


def _require_plain(response: httpx.Response, url: str) -> None:
    """Raise an ImageError where the server packed the file, which it was asked not to: it could become any size."""
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in {"", "identity"}:
        raise ImageError(f"{public(url)} came packed ({coding[:40]}), wanted the file as it is")


def _within(limit: int, chunks: Iterator[bytes], url: str) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise ImageError(f"{public(url)} is larger than {limit // 2**20} MB")
        if time.monotonic() > _until.get():
            raise ImageAwayError(f"{public(url)} took longer than {TOTAL_SECONDS:.0f} s")
        yield chunk


def _is_final(error: Exception) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in {400, 404, 410}
    return isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol | UnicodeError)


def _reason(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):  # its own text has the whole address
        return f"{error.response.status_code} {error.response.reason_phrase}"
    return f"{type(error).__name__}: {error}"


def is_never_asked(address: str) -> bool:
    """Whether an address of IPv4 or IPv6 is one that no image is fetched from."""
    return any(each in network for each in _meant(ipaddress.ip_address(address)) for network in NEVER)


def _meant(address: Address) -> Iterator[Address]:
    """The address, and those of IPv4 that routers and systems may take it for."""
    yield address
    if isinstance(address, ipaddress.IPv6Address) and not address.is_loopback:
        if any(address in network for network in _HOLDING_IPV4):
            yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if address.sixtofour:
            yield address.sixtofour


def _addresses(host: str, port: int) -> list[str]:
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _proxy(url: httpx.URL) -> str | None:
    """The proxy that the environment names for this address (``HTTP_PROXY``, ``HTTPS_PROXY``, ``NO_PROXY``)."""
    proxies = urllib.request.getproxies()
    found = proxies.get(url.scheme) or proxies.get("all")
    return found if found and not urllib.request.proxy_bypass(url.netloc.decode("ascii")) else None


@dataclass(frozen=True, slots=True)
class _Rules:
    """Who may be asked."""

    hosts: str
    always: Collection[str]
    resolve: Resolve

    def require_host(self, url: httpx.URL) -> None:
        """Raise an ImageError where the setting does not allow the host."""
        host = url.raw_host.decode("ascii")
        if url.host in self.always or _S3.fullmatch(host):
            return
        if not any(fnmatch.fnmatchcase(host, pattern) for pattern in self.hosts.split(",")):
            raise ImageError(
                f"wanted an image from a host that IMAGE_HOSTS allows ({self.hosts}), got {host[:200]}: add it there "
                "if images may come from it"
            )

    def require_name(self, url: httpx.URL) -> None:
        """The same for an address that a proxy will connect to: as much as can be known beforehand."""
        host = url.host.rstrip(".")  # which a name may end with and be the same
        if _METADATA.fullmatch(host):
            raise _refusal(host, "a metadata service")
        with contextlib.suppress(OSError, UnicodeError):  # a proxy may know names that are not known here
            _permitted(host, self.resolve(host, url.port or 80))


class _Transport(httpx.BaseTransport):
    """Decides about each request, so about each redirect too, and sends it directly or by the proxy."""

    def __init__(self, rules: _Rules) -> None:
        self._rules = rules
        self._context = httpx.create_ssl_context()
        self._direct = _Direct(_Network(rules.resolve), self._context)
        self._by_proxy: dict[str, httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._rules.require_host(request.url)
        proxy = _proxy(request.url)
        if proxy is None:
            return self._direct.handle_request(request)
        self._rules.require_name(request.url)
        if proxy not in self._by_proxy:
            self._by_proxy[proxy] = _Proxied(proxy, self._context)
        return self._by_proxy[proxy].handle_request(request)

    def close(self) -> None:
        for each in (self._direct, *self._by_proxy.values()):
            each.close()


def _permitted(host: str, addresses: list[str]) -> list[str]:
    permitted = [each for each in addresses if not is_never_asked(each)]
    if not permitted:
        raise _refusal(host, ", ".join(addresses))
    return permitted


def _refusal(host: str, what: str) -> ImageError:
    return ImageError(
        f"{host[:200]} is {what}: no image is fetched from there, whatever IMAGE_HOSTS says (link-local, multicast and "
        "metadata addresses)"
    )


class _Direct(httpx.HTTPTransport):
    """httpx's own transport, on top of another network; it has no parameter for that."""

    def __init__(self, network: httpcore.NetworkBackend, context: ssl.SSLContext) -> None:
        super().__init__(verify=context)
        self._pool = httpcore.ConnectionPool(
            ssl_context=context, max_connections=100, keepalive_expiry=30.0, network_backend=network
        )


class _Proxied(httpx.HTTPTransport):
    """The same for a proxy; how httpx connects to one of SOCKS stays as it is."""

    def __init__(self, address: str, context: ssl.SSLContext) -> None:
        proxy = httpx.Proxy(address)
        super().__init__(verify=context, proxy=proxy)
        if proxy.url.scheme in {"http", "https"}:
            self._pool = httpcore.HTTPProxy(
                str(proxy.url),
                proxy_auth=proxy.raw_auth,
                ssl_context=context,
                max_connections=100,
                keepalive_expiry=30.0,
                network_backend=_Clocked(),
            )


class _Clocked(httpcore.NetworkBackend):
    """Connects to whatever it is told to, for as long as a download may take."""

    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, *rest: Any, **options: Any) -> "_Timed":  # noqa: ANN401
        """A stream to *host*."""
        return _Timed(self._inner.connect_tcp(host, port, _left(timeout), *rest, **options))


class _Network(_Clocked):
    """Connects to permitted addresses alone."""

    def __init__(self, resolve: Resolve) -> None:
        super().__init__()
        self._resolve = resolve

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, *rest: Any, **options: Any) -> "_Timed":  # noqa: ANN401
        """A stream to the first permitted address of *host* that answers."""
        try:
            addresses = self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(str(error)) from error
        *others, last = _permitted(host, addresses)
        for address in others:
            with contextlib.suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return super().connect_tcp(address, port, timeout, *rest, **options)
        return super().connect_tcp(last, port, timeout, *rest, **options)


def _left(timeout: float | None) -> float:
    """What is left for a step: a server that sends a byte now and then must not hold a thread for ever."""
    left = _until.get() - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout(f"it took longer than {TOTAL_SECONDS:.0f} s")
    return left if timeout is None else min(timeout, left)


class _Timed(httpcore.NetworkStream):
    """A stream whose steps end when the whole download has to."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Timed(self._inner.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401  # the base class's own
        return self._inner.get_extra_info(info)
