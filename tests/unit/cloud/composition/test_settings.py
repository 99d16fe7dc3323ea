"""The flags of `cloud serve`."""

from pathlib import Path

import pytest

from swallowtail.cloud.composition.settings import ServeError, ServeSettings


@pytest.mark.parametrize(
    ("listen", "host", "port"),
    [
        ("127.0.0.1:8443", "127.0.0.1", 8443),
        ("[::1]:0", "::1", 0),
        ("cloud.example:443", "cloud.example", 443),
    ],
)
def test_an_address_is_read(listen: str, host: str, port: int) -> None:
    settings = ServeSettings.of(data=Path("d"), listen=listen, cert=None, key=None)
    assert (settings.host, settings.port) == (host, port)
    assert settings.data.is_absolute()


@pytest.mark.parametrize(
    "listen", ["", "8443", ":8443", "host:", "host:port", "host:65536", "host:-1", "host:٣"]
)
def test_an_address_that_is_none_is_refused(listen: str) -> None:
    with pytest.raises(ServeError, match="HOST:PORT"):
        ServeSettings.of(data=Path("d"), listen=listen, cert=None, key=None)


def test_the_public_address_and_the_hosts_of_proxies_are_read() -> None:
    settings = ServeSettings.of(
        data=Path("d"),
        listen="[::]:8443",
        public_url="https://Cloud.example:8443/",
        allowed_hosts=["viewer.example", "*.lan.example", "[2001:DB8::1]"],
    )
    assert str(settings.public) == "cloud.example:8443"
    assert settings.allowed == ("viewer.example", "*.lan.example", "2001:db8::1")


@pytest.mark.parametrize(
    "url",
    [
        "cloud.example",
        "http://cloud.example",
        "https://",
        "https://cloud.example/pacs",
        "https://u:p@cloud.example",
        "https://cloud.example?x",
        "https://cloud.example:99999",
        "https://[::1",
        "https://cl oud",
    ],
)
def test_a_public_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ServeError, match=r"--public-url.*https://"):
        ServeSettings.of(data=Path("d"), listen="[::]:8443", public_url=url)


@pytest.mark.parametrize(
    "host", ["", "https://viewer.example", "viewer.example:443", "a b", "*", "*.*.example"]
)
def test_an_allowed_host_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(ServeError, match="--allowed-host"):
        ServeSettings.of(data=Path("d"), listen="[::]:8443", allowed_hosts=[host])
