"""One gateway: `python -m tests.compliance.assess` reads {"name", "during", "variables"} and writes what it found.

Exit code 0 means no more than that it wrote something: {"why": why nothing is known of the rest, "results": [Result]}.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict

from tests.compliance import suite
from tests.compliance.gateway import reach
from tests.compliance.outcome import NotAssessed, line
from tests.compliance.site import site_of


def main() -> int:
    given = json.load(sys.stdin)
    found: dict[str, object] = {"why": "", "results": []}
    try:
        site = site_of(given["variables"])
        # Short: a unix socket's name has at most 108 bytes.
        with tempfile.TemporaryDirectory(prefix="sg-") as sockets:
            recorder = suite.Recorder(reach(given["name"], given["variables"], site, sockets), during=given["during"])
            found["why"] = suite.run(recorder)
        found["results"] = [asdict(result) for result in recorder.results.values()]
    except NotAssessed as no:
        found["why"] = line(str(no))
    json.dump(found, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
