"""A peer: pynetdicom's storage SCP, writing files undecoded.

`storage_scp.py PORT FOLDER MAX_PDU` (0: its default).
"""

import secrets
import sys
from pathlib import Path

from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.presentation import build_context

ExplicitVRLittleEndian = "1.2.840.10008.1.2.1"


def main() -> None:
    port, folder, max_pdu = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])

    def store(event: evt.Event) -> int:
        (folder / f"{secrets.token_hex(8)}.dcm").write_bytes(event.encoded_dataset())
        return 0x0000

    ae = AE()
    if max_pdu:
        ae.maximum_pdu_size = max_pdu
    ae.supported_contexts = [
        build_context(context.abstract_syntax, ExplicitVRLittleEndian)
        for context in AllStoragePresentationContexts[:120]
    ]
    ae.start_server(("127.0.0.1", port), block=True, evt_handlers=[(evt.EVT_C_STORE, store)])


main()
