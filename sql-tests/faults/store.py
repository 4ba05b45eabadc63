"""An object store on this machine: SeaweedFS with its S3 door."""

import json
import pathlib
import subprocess
import sys
import urllib.error
import urllib.request

from pyarrow import fs

from cluster import START_SECONDS_MAX, Unsettled, wait_until
from surroundings import clean_environment, free_port_with_twin

KEYS = {"accessKey": "grape", "secretKey": "vine"}
REGION = "us-east-1"


class SeaweedFs:
    """Starts with its object; holds what is uploaded until it is killed."""

    PROGRAM = pathlib.Path(sys.executable).parent / "weed"

    def __init__(self, folder):
        self.folder = folder / "store"
        self.folder.mkdir()
        identity = {"name": "grappe", "credentials": [KEYS], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
        identities = self.folder / "s3.json"
        identities.write_text(json.dumps({"identities": [identity]}))
        self.port, master, volume, filer = (free_port_with_twin() for _ in range(4))
        command = [
            self.PROGRAM, "server", f"-dir={self.folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3",
            f"-s3.port={self.port}", f"-s3.config={identities}", f"-master.port={master}", f"-volume.port={volume}",
            f"-filer.port={filer}", "-master.volumeSizeLimitMB=64", "-volume.max=20",
        ]
        with (folder / "store.log").open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=clean_environment())

    def wait_ready(self):
        """It tells nobody when it is ready."""
        def answers():
            if self.process.poll() is not None:
                raise Unsettled("the object store ended before it was ready")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}", timeout=5)
            except urllib.error.HTTPError:
                return True
            except OSError:
                return False
            return True

        wait_until(answers, "the object store answers", START_SECONDS_MAX, 0.1)

    def upload(self, bucket, places):
        """The files of each table, in a directory of the bucket with the table's name."""
        store = fs.S3FileSystem(
            access_key=KEYS["accessKey"], secret_key=KEYS["secretKey"], region=REGION, scheme="http",
            endpoint_override=f"127.0.0.1:{self.port}", allow_bucket_creation=True,
        )
        store.create_dir(bucket)
        for table, place in places.items():
            for file in place.glob("*.parquet"):
                with store.open_output_stream(f"{bucket}/{table}/{file.name}") as stream:
                    stream.write(file.read_bytes())

    @staticmethod
    def settings(port):
        """What clients have to know to come in by that port."""
        return {
            "AWS_ENDPOINT": f"http://127.0.0.1:{port}",
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": KEYS["accessKey"],
            "AWS_SECRET_ACCESS_KEY": KEYS["secretKey"],
        }

    def kill(self):
        """It takes many minutes to end by itself."""
        self.process.kill()
        self.process.wait()
