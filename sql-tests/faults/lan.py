"""Networks that are none of this machine's: namespaces on a bridge."""

import os
import subprocess

TABLE = "faults"


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

    def part(self, host, other):
        """Nothing goes from one to the other any more, either way; nobody is told."""
        chains = [("input", "saddr"), ("output", "daddr")]
        rules = "\n".join(
            f"chain {hook} {{ type filter hook {hook} priority 0; ip {side} {other} drop; }}" for hook, side in chains
        )
        run(*self.prefix(host), "nft", f"table inet {TABLE} {{\n{rules}\n}}")

    def join(self, host):
        """Undoes `part`."""
        run(*self.prefix(host), "nft", "delete", "table", "inet", TABLE)

    def remove(self):
        """What ran there is dead; the ends of the cables go with the namespaces."""
        for name in self.names.values():
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
        subprocess.run(["ip", "link", "delete", self.bridge], check=False, capture_output=True)
