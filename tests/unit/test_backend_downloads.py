"""Fetching by http: from the hosts that may be asked, and never from where a machine's credentials lie."""

import contextlib
import gzip
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend import downloads
from backend.downloads import Downloads, is_never_asked
from backend.errors import ImageAwayError, ImageError
from tests.local_server import Server, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def fetch() -> Iterator[Callable[..., bytes]]:
    made: list[Downloads] = []

    def get(url: str, hosts: str = "*", *, always: str = "", names: dict[str, list[str]] | None = None) -> bytes:
        made.append(Downloads(hosts, always=[always], resolve=(lambda host, _port: names[host]) if names else None))
        return made[-1].get(url, limit=2**20)

    yield get
    for each in made:
        each.close()


FORBIDDEN = [
    pytest.param("169.254.169.254", id="AWS, Google, Azure and others"),
    pytest.param("169.254.170.2", id="credentials of a container"),
    pytest.param("169.254.0.0", id="the first of them"),
    pytest.param("169.254.255.255", id="the last of them"),
    pytest.param("::ffff:169.254.169.254", id="IPv4 in IPv6"),
    pytest.param("::ffff:a9fe:a9fe", id="IPv4 in IPv6, in hexadecimal digits"),
    pytest.param("::169.254.169.254", id="IPv4 in IPv6, in the old form"),
    pytest.param("64:ff9b::a9fe:a9fe", id="IPv4 behind NAT64"),
    pytest.param("2002:a9fe:a9fe::1", id="IPv4 behind 6to4"),
    pytest.param("fe80::1", id="link-local"),
    pytest.param("fe80::1%lo", id="link-local with its interface"),
    pytest.param("fd00:ec2::254", id="AWS over IPv6"),
    pytest.param("fd20:ce::254", id="Google over IPv6"),
    pytest.param("100.100.100.200", id="Alibaba"),
    pytest.param("168.63.129.16", id="Azure's own host"),
    pytest.param("192.0.0.192", id="Oracle"),
    pytest.param("0.0.0.0", id="unspecified"),  # noqa: S104
    pytest.param("::", id="unspecified IPv6"),
    pytest.param("224.0.0.1", id="multicast"),
    pytest.param("ff02::1", id="multicast IPv6"),
    pytest.param("255.255.255.255", id="everybody"),
]


@pytest.mark.parametrize("address", FORBIDDEN)
@pytest.mark.parametrize("hosts", ["*", "evil.example.com,169.*,100.*"])
def test_a_forbidden_address_is_never_asked_whatever_the_setting_says(
    fetch: Callable[..., bytes], address: str, hosts: str
):
    with pytest.raises(ImageError, match="whatever IMAGE_HOSTS says") as caught:
        fetch("http://evil.example.com/latest/meta-data/", hosts, names={"evil.example.com": [address]})

    assert not isinstance(caught.value, ImageAwayError)


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[::ffff:169.254.169.254]", "0xa9fea9fe", "2852039166", "169.0xfea9fe"]
)
def test_no_way_of_writing_it_leads_there(fetch: Callable[..., bytes], host: str):
    with pytest.raises(ImageError, match="whatever IMAGE_HOSTS says"):
        fetch(f"http://{host}/latest/meta-data/")


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.5", "192.168.1.7", "172.17.0.2", "::1", "fd12:3456::1", "8.8.8.8"]
)
def test_loopback_and_private_networks_may_be_asked(address: str):
    assert not is_never_asked(address)


@given(st.ip_addresses(v=4, network="169.254.0.0/16"))
def test_every_link_local_address_is_known_in_each_of_its_forms(address: object):
    assert is_never_asked(str(address))
    assert is_never_asked(f"::ffff:{address}")
    assert is_never_asked(f"64:ff9b::{address}")


def test_the_address_that_was_looked_at_is_the_one_that_is_connected_to(fetch: Callable[..., bytes], server: Server):
    """The second answer of a name's server leads elsewhere; it is not asked for."""
    server.answer = lambda _path: (200, b"photo", {})
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])
    made = Downloads(resolve=lambda _host, _port: next(answers))

    assert made.get(f"http://rebinding.example.com:{server.server_port}/a.jpg", limit=10) == b"photo"
    made.close()


def test_of_several_addresses_a_forbidden_one_is_passed_over(fetch: Callable[..., bytes], server: Server):
    server.answer = lambda _path: (200, b"photo", {})
    names = {"vm.local": ["fe80::1", "127.0.0.1"]}

    assert fetch(f"http://vm.local:{server.server_port}/a.jpg", names=names) == b"photo"


def test_an_address_that_does_not_answer_is_followed_by_the_next(fetch: Callable[..., bytes], server: Server):
    server.answer = lambda _path: (200, b"photo", {})
    names = {"both.example.com": ["::1", "127.0.0.1"]}

    assert fetch(f"http://both.example.com:{server.server_port}/a.jpg", names=names) == b"photo"


@pytest.mark.parametrize("target", ["http://169.254.169.254/latest/meta-data/", "http://[fe80::1]/", "//0.0.0.0/x"])
def test_a_redirect_does_not_lead_there_either(fetch: Callable[..., bytes], server: Server, target: str):
    server.answer = lambda _path: (302, b"", {"Location": target})

    with pytest.raises(ImageError, match="whatever IMAGE_HOSTS says"):
        fetch(f"{server.url}/a.jpg")


def test_a_redirect_to_a_host_that_is_not_allowed_is_not_followed(fetch: Callable[..., bytes], server: Server):
    other = f"http://localhost:{server.server_port}/b.jpg"
    server.answer = lambda path: (200, b"photo", {}) if path == "/b.jpg" else (302, b"", {"Location": other})

    with pytest.raises(ImageError, match=r"a host that IMAGE_HOSTS allows \(127.0.0.1\), got localhost"):
        fetch(f"{server.url}/a.jpg", "127.0.0.1")
    assert fetch(f"{server.url}/a.jpg", "127.0.0.1,localhost") == b"photo"


def test_redirects_without_end_are_not_followed_for_ever(fetch: Callable[..., bytes], server: Server):
    server.answer = lambda _path: (302, b"", {"Location": "/again.jpg"})

    with pytest.raises(ImageAwayError, match="TooManyRedirects"):
        fetch(f"{server.url}/a.jpg")
    assert len(server.requests) < 10


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://example.com/x.jpg", "gopher://x"])
def test_a_redirect_to_another_protocol_is_an_image_error(fetch: Callable[..., bytes], server: Server, location: str):
    server.answer = lambda _path: (302, b"", {"Location": location})

    with pytest.raises(ImageError):
        fetch(f"{server.url}/a.jpg")


@pytest.mark.parametrize(
    ("hosts", "url", "allowed"),
    [
        pytest.param("*", "http://anything.example/x.jpg", True, id="every host"),
        pytest.param("images.example.com", "http://images.example.com/x.jpg", True, id="a name"),
        pytest.param("images.example.com", "http://IMAGES.example.com/x.jpg", True, id="a name in capitals"),
        pytest.param("*.example.com", "http://a.b.example.com/x.jpg", True, id="what ends so"),
        pytest.param("*.example.com", "http://example.com/x.jpg", False, id="not the domain itself"),
        pytest.param("*.example.com", "http://example.com.evil.example/x.jpg", False, id="not what begins so"),
        pytest.param("images.example.com", "http://images.example.com@evil.example/x.jpg", False, id="a user's name"),
        pytest.param("images.example.com", "http://evil.example/images.example.com/x.jpg", False, id="a path"),
        pytest.param("images.example.com", "http://ls.example.com/x.jpg", True, id="Label Studio"),
        pytest.param("images.example.com", "http://birds.s3.eu-west-1.amazonaws.com/x.jpg", True, id="S3"),
        pytest.param("images.example.com", "http://s3.amazonaws.com/birds/x.jpg", True, id="S3 by path"),
        pytest.param("images.example.com", "http://s3-eu-west-1.amazonaws.com/birds/x.jpg", True, id="S3, old name"),
        pytest.param("images.example.com", "http://b.s3.dualstack.us-east-1.amazonaws.com/x", True, id="S3 by IPv6"),
        pytest.param("images.example.com", "http://b.s3.cn-north-1.amazonaws.com.cn/x", True, id="S3 in China"),
        pytest.param("images.example.com", "http://s3-1.eu-west-1.elb.amazonaws.com/x", False, id="a load balancer"),
        pytest.param("images.example.com", "http://ec2-1-2-3-4.compute.amazonaws.com/x", False, id="a machine at AWS"),
        pytest.param("images.example.com", "http://s3.amazonaws.com.evil.example/x", False, id="what looks like S3"),
    ],
)
def test_only_hosts_that_match_label_studio_and_s3_are_asked(server: Server, hosts: str, url: str, allowed: bool):
    server.answer = lambda _path: (200, b"photo", {})
    made = Downloads(hosts, always=["http://ls.example.com", ""], resolve=lambda _host, _port: ["127.0.0.1"])
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    with contextlib.nullcontext() if allowed else pytest.raises(ImageError, match="IMAGE_HOSTS"):
        made.get(f"{scheme}://{host}:{server.server_port}{slash}{path}", limit=10)
    made.close()

    assert bool(server.requests) is allowed


def proxied(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    server.answer = lambda _path: (200, b"by the proxy", {})
    monkeypatch.setenv("http_proxy", server.url)


@pytest.mark.parametrize("name", [["8.8.8.8"], OSError("not known here")], ids=["known", "not known here"])
def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch, server: Server, name: list[str] | OSError):
    def resolve(_host: str, _port: int) -> list[str]:
        if isinstance(name, OSError):
            raise name
        return name

    proxied(monkeypatch, server)
    made = Downloads(resolve=resolve)

    assert made.get("http://images.example.com/a.jpg", limit=100) == b"by the proxy"
    assert [path for path, _ in server.requests] == ["http://images.example.com/a.jpg"]
    made.close()


@pytest.mark.parametrize(
    "host",
    [
        *("169.254.169.254", "metadata.google.internal", "[fd00:ec2::254]", "0xa9fea9fe"),
        *("metadata.google.internal.", "169.254.169.254."),
    ],
)
def test_a_proxy_is_not_asked_for_a_forbidden_address(
    fetch: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch, server: Server, host: str
):
    proxied(monkeypatch, server)

    with pytest.raises(ImageError, match="whatever IMAGE_HOSTS says"):
        fetch(f"http://{host}/x")
    assert server.requests == []


def test_no_proxy_is_heeded(fetch: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch, server: Server):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server.answer = lambda _path: (200, b"photo", {})

    assert fetch(f"{server.url}/a.jpg") == b"photo"


def test_an_error_shows_neither_a_signature_nor_a_password(fetch: Callable[..., bytes], server: Server):
    with pytest.raises(ImageError) as caught:
        fetch(f"http://me:secret@127.0.0.1:{server.server_port}/a.jpg?X-Amz-Signature=secret")

    assert "secret" not in str(caught.value)
    assert "a.jpg: 404" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "away"), [(404, False), (410, False), (401, True), (429, True), (500, True), (503, True)]
)
def test_what_is_gone_is_gone_and_anything_else_may_be_had_later(
    fetch: Callable[..., bytes], server: Server, status: int, away: bool
):
    server.answer = lambda _path: (status, b"{}", {})

    with pytest.raises(ImageError, match=str(status)) as caught:
        fetch(f"{server.url}/x")

    assert isinstance(caught.value, ImageAwayError) is away


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/x.jpg", "http://no-such-host.invalid/x.jpg", f"http://{'a' * 70}/x"]
)
def test_a_host_that_does_not_answer_may_answer_later(fetch: Callable[..., bytes], url: str):
    with pytest.raises(ImageAwayError, match="cannot fetch"):
        fetch(url)


@pytest.mark.parametrize("coding", ["gzip", "gzip, gzip", "br"])
def test_what_comes_packed_is_refused_since_it_could_become_any_size(
    fetch: Callable[..., bytes], server: Server, coding: str
):
    server.answer = lambda _path: (200, gzip.compress(b"x" * 2**24), {"Content-Encoding": coding})

    with pytest.raises(ImageError, match=f"came packed .{coding}., wanted the file as it is"):
        fetch(f"{server.url}/x")


@pytest.mark.parametrize("url", ["http://[::1/x.jpg", "http:///x.jpg", "http://xn--/a.jpg", "http://h/\ud800"])
def test_an_address_that_is_none_is_an_image_error(fetch: Callable[..., bytes], url: str):
    with pytest.raises(ImageError) as caught:
        fetch(url)

    assert not isinstance(caught.value, ImageAwayError)


def test_a_file_that_is_too_large_is_not_read_to_its_end(fetch: Callable[..., bytes], server: Server):
    server.answer = lambda _path: (200, b"x" * 2**21, {})

    with pytest.raises(ImageError, match="is larger than 1 MB"):
        fetch(f"{server.url}/x")


@pytest.mark.parametrize("way", ["directly", "by a proxy"])
@pytest.mark.parametrize(
    "drip",
    [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"],
    ids=["headers", "body"],
)
def test_a_server_that_sends_a_byte_now_and_then_does_not_hold_a_thread_for_ever(
    fetch: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch, drip: bytes, way: str
):
    monkeypatch.setattr(downloads, "TOTAL_SECONDS", 0.3)
    done = threading.Event()

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(drip)
            while not done.wait(0.02):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            if way == "by a proxy":
                monkeypatch.setenv("http_proxy", url)
                url = "http://images.example.com"
            with pytest.raises(ImageAwayError):
                fetch(f"{url}/x")
        finally:
            done.set()
            thread.join()


def test_cookies_are_not_kept_since_hosts_share_them_among_ports(fetch: Callable[..., bytes], server: Server):
    redirect = {"Set-Cookie": "sessionid=secret; Path=/", "Location": "/b"}
    server.answer = lambda path: (200, b"photo", {}) if path == "/b" else (302, b"", redirect)

    assert fetch(f"{server.url}/a") == b"photo"
    assert server.cookies == [None, None]
