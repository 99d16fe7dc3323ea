"""A client of the Cloud's REST API, for commands.

One request at a time, standard library alone.
"""

import http.client
import json
import ssl
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import truststore

MAX_ANSWER: Final = 64 * 1024 * 1024
DEADLINE: Final = 60.0


class RestError(Exception):
    """A request to the Cloud failed; the message states what, where, and what to do next."""

    def __init__(self, message: str, *, status: int = 0, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


class RestClient:
    """A client of one Cloud with one token.

    `ca` is a file of certificates to trust instead of the system's.
    """

    def __init__(self, url: str, token: str, ca: Path | None = None) -> None:
        parts = urllib.parse.urlsplit(url if "//" in url else f"https://{url}")
        if parts.scheme != "https" or not parts.hostname or parts.path.strip("/") or parts.query:
            raise RestError(
                f"{url!r} is not the URL of a Cloud. Use one like https://cloud.example:8443"
            )
        self._where = f"https://{parts.netloc.rpartition('@')[2]}"
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        self._connection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=DEADLINE, context=_context(ca)
        )

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        **query: str | int | None,
    ) -> Any:
        """Return the JSON of the response, None where it has none; raises RestError."""
        given = {name: value for name, value in query.items() if value is not None}
        target = f"/api/v1{path}" + (f"?{urllib.parse.urlencode(given)}" if given else "")
        data = None if body is None else json.dumps(body).encode()
        headers = self._headers | ({"Content-Type": "application/json"} if data else {})
        try:
            self._connection.request(method, target, data, headers)
            response = self._connection.getresponse()
            answer = response.read(MAX_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise RestError(f"{self._where}: {_reason(error)}") from error
        if response.status >= http.HTTPStatus.BAD_REQUEST:
            raise _problem(f"{method} {self._where}{target}", response.status, answer)
        return json.loads(answer) if answer else None

    def all(self, path: str, **query: str | int | None) -> Iterator[dict[str, Any]]:
        """Return every item of a list, page by page."""
        cursor: str | None = None
        while True:
            page = self.call("GET", path, None, **query, limit=1000, cursor=cursor)
            yield from page["items"]
            if (cursor := page["next"]) is None:
                return

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _context(ca: Path | None) -> ssl.SSLContext:
    if ca is None:
        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return ssl.create_default_context(cafile=str(ca))
    except OSError as error:
        raise RestError(
            f"cannot read the certificates in {ca}: {error.strerror or error}"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the Cloud's certificate is not trusted ({error.verify_message}); name its CA"
            " with --ca (DATA/ca.pem of a Cloud that created its own)"
        )
    if isinstance(error, TimeoutError):
        return (
            f"no response within {DEADLINE:.0f} s; check that the Cloud runs and that the network"
            " permits the connection"
        )
    return f"{error or type(error).__name__}; check that the Cloud runs at this address"


def _problem(what: str, status: int, answer: bytes) -> RestError:
    try:
        problem = json.loads(answer)
        lines = [f"{problem['detail']} ({what}: {status})"]
        lines += [f"  {fault['field']}: {fault['message']}" for fault in problem.get("errors", ())]
        lines += [f"  {problem['remedy']}"] if problem.get("remedy") else []
        return RestError("\n".join(lines), status=status, code=problem["code"])
    except (ValueError, KeyError, TypeError):
        return RestError(
            f"{what}: status {status}; is this the address of a Swallowtail Cloud?", status=status
        )
