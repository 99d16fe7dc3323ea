"""Link in a network namespace of its own behind 10 Mbit/s, with eight bulk stores running.

The time of an echo and of a ping meanwhile.

Needs root (`ip netns`, `tc`). Two namespaces' ends of one veth pair, `tbf rate 10mbit burst 32kb
latency 50ms` at both.
"""

import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.table import Row, alone
from swallowtail.sim.installation import ANY_DEVICE, Installation, Listening
from swallowtail.sim.processes import Program

SAMPLES: Final = 200
SENDERS: Final = 8
OBJECT: Final = 2**30
NAMESPACE: Final = f"swallowtail{os.getpid()}"
OUTSIDE: Final = f"swt{os.getpid()}"[:15]
CLOUD, LINK = "10.213.77.1", "10.213.77.2"
SHAPE: Final = "tbf rate 10mbit burst 32kb latency 50ms"


def possible() -> str:
    """Return why this cannot be measured on this machine; empty when it can."""
    if os.geteuid() != 0:
        return "needs root for ip netns and tc"
    lacking = [name for name in ("ip", "tc") if shutil.which(name) is None]
    return f"needs {' and '.join(lacking)} (apt install iproute2)" if lacking else ""


@contextmanager
def namespace() -> Iterator[list[str]]:
    """Create the namespace and its shaped uplink.

    Returns the prefix that runs a program inside.
    """
    inside = ["ip", "netns", "exec", NAMESPACE]
    _run("ip", "netns", "add", NAMESPACE)
    try:
        _run(
            "ip", "link", "add", OUTSIDE, "type", "veth", "peer", "name", "out", "netns", NAMESPACE
        )
        _run("ip", "address", "add", f"{CLOUD}/30", "dev", OUTSIDE)
        _run("ip", "link", "set", OUTSIDE, "up")
        _run(*inside, "ip", "address", "add", f"{LINK}/30", "dev", "out")
        _run(*inside, "ip", "link", "set", "out", "up")
        _run(*inside, "ip", "link", "set", "lo", "up")
        _run("tc", "qdisc", "add", "dev", OUTSIDE, "root", *SHAPE.split())
        _run(*inside, "tc", "qdisc", "add", "dev", "out", "root", *SHAPE.split())
        yield inside
    finally:
        _run("ip", "netns", "delete", NAMESPACE)  # takes the pair with it


def measure(folder: Path, report: Callable[[str], None]) -> Iterator[Row]:
    """Return the rows."""
    with namespace() as inside:
        listening = Listening("default", address="0.0.0.0", more=ANY_DEVICE)
        with Installation(
            folder, listeners=[listening], link_prefix=inside, cloud_host=CLOUD
        ) as site:
            report("behind 10 Mbit/s: quiet")
            yield from _rows("quiet", *sample(site))
            argv = [
                *inside,
                sys.executable,
                "-m",
                "bench.stream",
                str(site.port("default")),
                site.called_ae("default"),
            ]
            paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
            sender = Program(
                "senders", [*argv, str(SENDERS), str(OBJECT)], folder=folder, environment=paths
            )
            with sender:
                sender.wait_until(
                    lambda: "associated" in sender.text(), seconds=30, what="eight associations"
                )
                report(f"behind 10 Mbit/s: {SENDERS} bulk stores")
                echoes, pings = sample(site)
                if not sender.running:
                    raise sender.failure("ended before the samples were taken")
            yield from _rows("behind 10 Mbit/s", echoes, pings)


def sample(site: Installation) -> tuple[list[float], list[float]]:
    """Take the samples: milliseconds of the wire's echo and of 1 KiB through Link."""
    echoes, pings = [], []
    for _ in range(SAMPLES):
        pings.append(
            1000
            * site.rest.json(f"/api/v1/links/{site.link_id}/ping?bytes=1024", method="POST")[
                "seconds"
            ]
        )
        echoes.append(
            1000 * site.rest.json(f"/api/v1/links/{site.link_id}")["session"]["round_trip"]
        )
    return echoes, pings


def _rows(where: str, echoes: list[float], pings: list[float]) -> Iterator[Row]:
    for name, values in (("control echo", echoes), ("ping", pings)):
        p99 = statistics.quantiles(values, n=100)[98]
        yield alone(
            f"{name} p99 {where}",
            p99,
            "ms",
            note=f"median {statistics.median(values):.1f}, most {max(values):.1f}",
        )


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(argv)}: {done.stderr.strip()}")
