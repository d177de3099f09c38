"""The test fleet: real hosts, a real VPN and the site's own software on one machine."""

from lab import wait
from lab.fleet import Lab
from lab.host import Host
from lab.paths import HostError, LabError

__all__ = ["Host", "HostError", "Lab", "LabError", "wait"]
