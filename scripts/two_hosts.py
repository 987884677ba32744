"""Two network namespaces with a limited link between them, which stand for two machines. They can be made as root, where
there are `ip` and `tc` (iproute2)."""

import os
import shutil
import subprocess
import sys

from measuring import json_lines

ADDRESSES = ("10.77.1.1", "10.77.1.2")
PORT = 29517


def why_not():
    """What is missing; "": nothing."""
    if os.geteuid() != 0:
        return "network namespaces can be made as root only"
    for name in ("ip", "tc"):
        if not shutil.which(name):
            return f"{name} is missing (Debian's iproute2)"
    return ""


class TwoHosts:
    """To be used by `with`: they are gone behind it."""

    def __init__(self, rate):
        self.rate = rate
        self.hosts = [f"evomoe{os.getpid()}{letter}" for letter in "ab"]

    def __enter__(self):
        first, second = self.hosts
        try:
            for host in self.hosts:
                self._sh("ip", "netns", "add", host)
            self._sh("ip", "link", "add", "e0", "netns", first, "type", "veth", "peer", "name", "e0", "netns", second)
            for host, address in zip(self.hosts, ADDRESSES):
                self._sh("ip", "-n", host, "addr", "add", f"{address}/24", "dev", "e0")
                for device in ("e0", "lo"):
                    self._sh("ip", "-n", host, "link", "set", device, "up")
                self._sh("ip", "netns", "exec", host, "tc", "qdisc", "add", "dev", "e0", "root", "tbf", "rate", self.rate,
                         "burst", "256kb", "latency", "50ms")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for host in self.hosts:
            subprocess.run(["ip", "netns", "del", host], stderr=subprocess.DEVNULL, check=False)

    @staticmethod
    def _sh(*line):
        subprocess.run(line, check=True)

    def run(self, program, arguments):
        """One rank on each; the JSON lines of the first."""
        line = [program, *arguments.split(), "--distributed-world-size", "2", "--distributed-init-method",
                f"tcp://{ADDRESSES[0]}:{PORT}", "--distributed-rank"]
        ranks = [subprocess.Popen(["ip", "netns", "exec", host, *line, str(rank)], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                 for rank, host in enumerate(self.hosts)]
        (out, said), (_, other) = (rank.communicate() for rank in ranks)
        if any(rank.returncode for rank in ranks):
            sys.exit(f"{' '.join(line)} 0 and 1: exit status {[rank.returncode for rank in ranks]}\n{said}{other}")
        return json_lines(out)
