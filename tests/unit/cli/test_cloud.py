"""Every setting of `cloud serve` and `cloud apply`, as a flag and as a variable.

Each has to have its effect.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from swallowtail.cli import main
from swallowtail.cli.api_client import RestClient, RestError
from swallowtail.cloud import server
from swallowtail.cloud.composition.settings import ServeSettings
from swallowtail.cloud.web.hosts import Host
from swallowtail.cloud.web.proxies import parse_proxies
from swallowtail.cloud.web.rate_limits import Rates

FACTS = {
    "release": "0.1.0",
    "url": "https://localhost:8443",
    "ca": "/d/ca.pem",
    "token": "swt_x",
}


levels: list[str] = []
"""At which `serve` configured the log."""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[ServeSettings]:
    seen: list[ServeSettings] = []
    levels.clear()

    def run(settings: ServeSettings, *, announce: Any) -> None:
        seen.append(settings)
        announce(dict(FACTS))

    monkeypatch.setattr(server, "run", run)
    monkeypatch.setattr("swallowtail.runtime.log.configure", levels.append)
    monkeypatch.setattr("swallowtail.runtime.log.take_crashes", lambda: None)
    return seen


SETTINGS = {
    "--data": "/d",
    "--listen": "[::]:9443",
    "--cert": "/c.pem",
    "--key": "/k.pem",
    "--log-level": "debug",
    "--public-url": "https://cloud.example:9443",
    "--allowed-host": "viewer.example",
    "--token-rate": "50",
    "--trusted-proxy": "10.0.0.0/24",
}


@pytest.mark.parametrize("as_variables", [False, True])
def test_every_setting_of_serve_arrives(started: list[ServeSettings], as_variables: bool) -> None:
    variables = (
        {
            f"SWALLOWTAIL_{flag[2:].upper().replace('-', '_')}": value
            for flag, value in SETTINGS.items()
        }
        if as_variables
        else {}
    )
    flags = [] if as_variables else [word for pair in SETTINGS.items() for word in pair]
    result = CliRunner().invoke(main, ["cloud", "serve", *flags], env=variables)
    assert result.exit_code == 0, result.output
    (settings,) = started
    public, allowed = Host("cloud.example", 9443), ("viewer.example",)
    rates, proxies = Rates.of_tokens(50), parse_proxies(["10.0.0.0/24"])
    given = (public, allowed, rates, proxies)
    expected = ServeSettings(Path("/d"), "::", 9443, Path("/c.pem"), Path("/k.pem"), None, *given)
    assert settings == expected
    assert levels == ["debug"]


def test_serve_prints_what_a_person_needs_or_one_line_for_a_program(
    started: list[ServeSettings],
) -> None:
    shown = CliRunner().invoke(main, ["cloud", "serve", "--data", "/d"]).output
    for word in (
        "https://localhost:8443",
        "/d/ca.pem",
        "swt_x",
        "shown once",
        "cloud apply hospital.toml --cloud https://localhost:8443 --ca /d/ca.pem",
    ):
        assert word in shown
    line = CliRunner().invoke(main, ["cloud", "serve", "--data", "/d", "--json"]).output
    assert json.loads(line) == FACTS
    assert started[0] == ServeSettings(Path("/d"), "127.0.0.1", 8443)


def test_serve_says_why_it_cannot(
    monkeypatch: pytest.MonkeyPatch, started: list[ServeSettings]
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise server.ServeError("another Cloud runs on /d")

    monkeypatch.setattr(server, "run", refuse)
    result = CliRunner().invoke(main, ["cloud", "serve", "--data", "/d"])
    assert result.exit_code == 1
    assert "another Cloud runs on /d" in result.output


def test_every_setting_of_apply_is_also_a_variable(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("swt_x")
    variables = {
        "SWALLOWTAIL_CLOUD": "https://127.0.0.1:1",
        "SWALLOWTAIL_TOKEN_FILE": str(token),
        "SWALLOWTAIL_CA": str(tmp_path / "no"),
    }
    result = CliRunner().invoke(main, ["cloud", "apply", "examples/hospital.toml"], env=variables)
    assert "cannot read the certificates in" in result.output
    del variables["SWALLOWTAIL_CA"]
    result = CliRunner().invoke(main, ["cloud", "apply", "examples/hospital.toml"], env=variables)
    assert "https://127.0.0.1:1: " in result.output
    assert "check that the Cloud runs at this address" in result.output


@pytest.mark.parametrize(
    "url",
    [
        "http://cloud.example",
        "https://",
        "https://cloud.example/api",
        "https://cloud.example?x=1",
        "",
    ],
)
def test_an_address_that_is_no_clouds_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(RestError, match="Use one like https://"):
        RestClient(url, "swt_x")


def test_the_default_rate_of_serve_is_the_one_of_the_limits(
    started: list[ServeSettings],
) -> None:
    CliRunner().invoke(main, ["cloud", "serve", "--data", "/d"])
    assert started[0].rates == Rates()


def test_several_proxies_are_taken_and_what_is_none_is_refused() -> None:
    flags = {"data": Path("/d"), "listen": "h:1"}
    settings = ServeSettings.of(**flags, trusted_proxies=["10.0.0.5", "fd00::/8"])
    assert len(settings.proxies) == 2
    with pytest.raises(server.ServeError, match=r"--trusted-proxy: .*nginx.*10\.0\.0\.5"):
        ServeSettings.of(**flags, trusted_proxies=["nginx"])


def test_the_list_of_commands_names_them_all() -> None:
    shown = CliRunner().invoke(main, ["--help"]).output
    for command in ("cloud", "link"):
        assert command in shown
