"""What a client of the Cloud can do with a patient in it, right and wrong.

One request each, and the status that it is answered.
"""

import http.client
import json
import socket
import ssl
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.leaks.canary import DESCRIPTION, PATIENT, STUDY_UID, TEXT

Q: Final = urllib.parse.quote(PATIENT.name)
T: Final = urllib.parse.quote(TEXT)
RULE: Final = {
    "name": "x",
    "condition": {"tags": [{"tag": "PatientName", "pattern": PATIENT.name}]},
    "action": {"targets": ["{destination}"]},
}
HUGE: Final = json.dumps({"name": TEXT * 40_000})


@dataclass(frozen=True, slots=True)
class Ask:
    """One request; `token` is a name of one of the test's tokens, or what stands in its place."""

    method: str
    path: str
    status: int
    token: str = "administrator"
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


RIGHT: Final = {
    "QIDO by name": Ask("GET", f"/dicomweb/studies?PatientName={Q}", 200),
    "QIDO by a part of the name": Ask(
        "GET", f"/dicomweb/studies?PatientName={Q[:6]}*&fuzzymatching=true", 200
    ),
    "QIDO by number": Ask(
        "GET", f"/dicomweb/studies?00100020={PATIENT.number}&includefield=00101010", 200
    ),
    "QIDO by accession number": Ask(
        "GET", f"/dicomweb/studies?AccessionNumber=A-{PATIENT.number}", 200
    ),
    "QIDO by description": Ask(
        "GET", f"/dicomweb/studies?StudyDescription={urllib.parse.quote(DESCRIPTION)}", 200
    ),
    "QIDO that finds nothing": Ask("GET", f"/dicomweb/studies?PatientName={Q}x", 204),
    "QIDO for series": Ask("GET", f"/dicomweb/studies/{STUDY_UID}/series", 200),
    "the study": Ask("GET", f"/api/v1/studies/{STUDY_UID}", 200),
    "WADO": Ask("GET", f"/dicomweb/studies/{STUDY_UID}", 200),
    "audit": Ask("GET", "/api/v1/audit?limit=1000", 200),
    "a rule on the patient": Ask(
        "POST",
        "/api/v1/rules/dry-run",
        200,
        body={"study": STUDY_UID, "rules": [RULE]},
    ),
}
"""What is meant to be asked, and answered with the patient."""

WRONG: Final = {
    "QIDO without a token": Ask("GET", f"/dicomweb/studies?PatientName={Q}", 401, token=""),
    "QIDO with a token that is none": Ask(
        "GET", f"/dicomweb/studies?PatientName={Q}", 401, token="swt_unknown"
    ),
    "the patient as a token": Ask("GET", "/api/v1/whoami", 401, token=PATIENT.number),
    "the patient as another scheme": Ask(
        "GET", "/api/v1/whoami", 401, token="", headers={"Authorization": f"Basic {Q}"}
    ),
    "QIDO by an operator": Ask("GET", f"/dicomweb/studies?PatientName={Q}", 403, token="operator"),
    "QIDO with an unknown key": Ask("GET", f"/dicomweb/studies?{PATIENT.number}={Q}", 400),
    "QIDO with a date that is none": Ask("GET", f"/dicomweb/studies?StudyDate={Q}", 400),
    "QIDO with a limit that is none": Ask("GET", f"/dicomweb/studies?limit={Q}", 400),
    "QIDO with an offset that is none": Ask("GET", f"/dicomweb/studies?offset={PATIENT.born}", 413),
    "QIDO with broken percents": Ask(
        "GET", f"/dicomweb/studies?PatientName=%ff%fe%{PATIENT.number}", 204
    ),
    "QIDO in a type that is none": Ask(
        "GET",
        f"/dicomweb/studies?PatientName={Q}",
        406,
        headers={"Accept": f"application/{PATIENT.number}"},
    ),
    "a study UID that is none": Ask("GET", f"/dicomweb/studies/{Q}/series", 400),
    "WADO of a study that is not there": Ask("GET", f"/dicomweb/studies/{STUDY_UID}.9", 404),
    "WADO of rendered images": Ask(
        "GET", f"/dicomweb/studies/{STUDY_UID}", 406, headers={"Accept": "image/jpeg"}
    ),
    "a study that is none": Ask("GET", f"/api/v1/studies/{Q}", 400),
    "an instance that is none": Ask("GET", f"/api/v1/instances/{Q}", 422),
    "a route that is none": Ask("GET", f"/api/v1/{Q}?{T}", 404),
    "a page that is none": Ask("GET", f"/{Q}", 404, token=""),
    "a method that is none": Ask(PATIENT.number, "/api/v1/studies", 400),
    "a cursor that is none": Ask("GET", f"/api/v1/studies?cursor={Q}", 400),
    "a limit that is none": Ask("GET", f"/api/v1/instances?limit={Q}", 422),
    "a body that is no JSON": Ask("POST", "/api/v1/facilities", 422, body=f'{{"name": {TEXT}'),
    "a body that is a text": Ask("POST", "/api/v1/facilities", 422, body=json.dumps(TEXT)),
    "a body of another type": Ask(
        "POST", "/api/v1/facilities", 422, body=TEXT, headers={"Content-Type": "text/plain"}
    ),
    "a body that is too long": Ask("POST", "/api/v1/facilities", 413, body=HUGE),
    "a body with a wrong name": Ask(
        "POST", "/api/v1/facilities", 422, body={"name": TEXT, "time_zone": TEXT}
    ),
    "a body with an unknown key": Ask(
        "POST", "/api/v1/tokens", 422, body={"name": "x", "role": "clinician", TEXT: TEXT}
    ),
    "a role that is none": Ask(
        "POST", "/api/v1/tokens", 422, body={"name": "x", "role": PATIENT.name}
    ),
    "an organisation by an administrator": Ask(
        "POST", "/api/v1/organisations", 403, body={"name": TEXT}
    ),
    "an organisation with a wrong name": Ask(
        "POST", "/api/v1/organisations", 422, token="operator", body={"name": TEXT}
    ),
    "a rule with a tag that is none": Ask(
        "POST",
        "/api/v1/rules",
        422,
        body=RULE | {"condition": {"tags": [{"tag": TEXT, "pattern": TEXT}]}},
    ),
    "a study sent to nowhere": Ask(
        "POST", f"/api/v1/studies/{STUDY_UID}/send", 422, body={"destinations": [f"{Q}:{Q}"]}
    ),
    "a configuration that is none": Ask(
        "PUT",
        "/api/v1/links/{link}/configuration",
        422,
        body={"document": {"listeners": [{"name": TEXT, TEXT: TEXT}]}},
    ),
    "a configuration of an unknown Link": Ask("GET", f"/api/v1/links/{Q}/configuration", 404),
    "a head with the patient": Ask(
        "GET", "/api/v1/whoami", 200, headers={"X-Patient": Q, "User-Agent": Q, "Referer": f"/{Q}"}
    ),
    "a head that is too long": Ask("GET", "/api/v1/whoami", 0, headers={"X-Patient": Q * 8_000}),
    "Link's door": Ask("GET", f"/link?{Q}", 404, token=""),
    "Link's door with another subprotocol": Ask(
        "GET",
        f"/link?{Q}",
        400,
        token="",
        headers={
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            "Sec-WebSocket-Protocol": PATIENT.number,
        },
    ),
}


@dataclass(frozen=True, slots=True)
class Client:
    """Sends requests, well-formed or not."""

    host: str
    port: int
    ca: Path
    tokens: Mapping[str, str]
    names: Mapping[str, str]
    """What stands in braces in a request: ids that are known only now."""

    def ask(self, ask: Ask) -> int:
        """Send one request on a connection of its own.

        Gives its status, 0 when the connection ended instead.
        """
        connection = http.client.HTTPSConnection(
            self.host, self.port, timeout=30, context=self.context()
        )
        token = self.tokens.get(ask.token, ask.token)
        headers = (
            ({"Authorization": f"Bearer {token}"} if token else {})
            | {"Content-Type": "application/json"}
            | dict(ask.headers)
        )
        body = ask.body if ask.body is None or isinstance(ask.body, str) else json.dumps(ask.body)
        path, body = (None if text is None else self._named(text) for text in (ask.path, body))
        try:
            connection.request(ask.method, path or "", body, headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()
        return answer.status

    def _named(self, text: str) -> str:
        for name, value in self.names.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    def pour(self, data: bytes, *, secured: bool) -> bytes:
        """Send bytes that are no request; gives what comes back."""
        with socket.create_connection((self.host, self.port), timeout=30) as plain:
            line = (
                self.context().wrap_socket(plain, server_hostname=self.host) if secured else plain
            )
            try:
                line.sendall(data)
                return line.recv(1_000)
            except OSError:
                return b""
            finally:
                line.close()

    def context(self) -> ssl.SSLContext:
        """Trust the Cloud's own authority."""
        return ssl.create_default_context(cafile=str(self.ca))
