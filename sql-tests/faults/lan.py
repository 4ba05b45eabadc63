"""Networks that are none of this machine's: namespaces on a bridge."""

import os
import subprocess

TABLE = "faults"
# Which end of a packet is the other host.
WAYS = {"input": "saddr", "output": "daddr"}


def run(*words):
    subprocess.run(words, check=True, capture_output=True)


class Lan:
    """A namespace a host, each with one address; this process reaches all through the bridge."""

    def __init__(self, count):
        pid = os.getpid()
        self.bridge = f"gf{pid}"
        # Two harnesses at once shall not meet.
        network = f"10.{200 + pid % 50}.{pid // 50 % 256}"
        self.names = {f"{network}.{number + 2}": f"gf{pid}-{number}" for number in range(count)}
        run("ip", "link", "add", self.bridge, "type", "bridge")
        run("ip", "address", "add", f"{network}.1/24", "dev", self.bridge)
        run("ip", "link", "set", self.bridge, "up")
        for host, name in self.names.items():
            self.add(host, name)

    def add(self, host, name):
        run("ip", "netns", "add", name)
        run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", name, "master", self.bridge, "up")
        run(*self.prefix(host), "ip", "address", "add", f"{host}/24", "dev", "eth0")
        run(*self.prefix(host), "ip", "link", "set", "eth0", "up")
        run(*self.prefix(host), "ip", "link", "set", "lo", "up")

    @property
    def hosts(self):
        return list(self.names)

    def prefix(self, host):
        """What stands before a command that shall run there."""
        return "ip", "netns", "exec", self.names[host]

    def drop(self, host, other, ways=tuple(WAYS), percent=100):
        """So many packets between the two get lost on these ways, as the host sees them; nobody is told."""
        which = "" if percent == 100 else f"numgen random mod 100 < {percent}"
        rules = "\n".join(
            f"chain {way} {{ type filter hook {way} priority 0; ip {WAYS[way]} {other} {which} drop; }}" for way in ways
        )
        run(*self.prefix(host), "nft", f"table inet {TABLE} {{\n{rules}\n}}")

    def join(self, host):
        """Undoes `drop`."""
        run(*self.prefix(host), "nft", "delete", "table", "inet", TABLE)

    def remove(self):
        """What ran there is dead; the ends of the cables go with the namespaces."""
        for name in self.names.values():
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
        subprocess.run(["ip", "link", "delete", self.bridge], check=False, capture_output=True)
