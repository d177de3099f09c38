"""The test fleet: real hosts, a real VPN and the site's own software on one machine."""
