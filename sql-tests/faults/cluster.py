"""A cluster of real processes: a coordinator and executors that stay dead until somebody starts them again."""

import functools
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass

import adbc_driver_flightsql.dbapi as flightsql
import adbc_driver_manager

from shuffle import files_of
from surroundings import clean_environment, free_ports

BINARY = os.environ.get("GRAPPE_BINARY", "grappe")
START_SECONDS_MAX = 30
STOP_SECONDS_MAX = 60
SETTLE_SECONDS_MAX = 60
POLL_SECONDS = 0.005
# A query waits so long for an executor when all were lost; shorter where a setting allows it.
EXECUTOR_WAIT_SECONDS_MAX = 30
SHORT_EXECUTOR_WAIT_SECONDS_MAX = 10


class Unsettled(Exception):
    """Something that was to happen did not happen in time."""


def wait_until(holds, says, seconds_max, poll_seconds=POLL_SECONDS):
    """Asks again until it holds: processes and files tell nobody."""
    end = time.monotonic() + seconds_max
    while not (found := holds()):
        if time.monotonic() > end:
            raise Unsettled(f"not within {seconds_max} s: {says() if callable(says) else says}")
        time.sleep(poll_seconds)
    return found


def link_binary(place):
    """A build may replace the binary meanwhile, and a cluster is of one version."""
    binary = shutil.which(BINARY)
    try:
        os.link(binary, place)
    except OSError:
        place.symlink_to(os.path.abspath(binary))


@functools.cache
def offers(setting):
    """Whether the binary knows a setting of the server."""
    command = [BINARY, "server", "--print-config"]
    settings = subprocess.run(command, check=True, capture_output=True, text=True, env=clean_environment()).stdout
    return f"\n{setting} = " in settings


class Process:
    """One `grappe server` or `grappe executor`, with its log."""

    def __init__(self, name, arguments, folder, environment, node):
        self.name, self.host, self.environment = name, node.host, environment
        self.command = [*node.prefix, folder / "grappe", *arguments]
        self.log = folder / f"{name}.log"
        self.process = None
        self.is_leaving = False

    def start(self):
        """Starts it; its line on standard output says when it is ready."""
        with self.log.open("a") as log:
            log.write(f"--- started at {time.strftime('%H:%M:%S')}\n")
            log.flush()
            self.is_leaving = False
            self.process = subprocess.Popen(
                self.command, stdout=subprocess.PIPE, stderr=log, text=True, env=self.environment
            )

    def wait_ready(self):
        ready, _, _ = select.select([self.process.stdout], [], [], START_SECONDS_MAX)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            raise Unsettled(f"{self.name} did not start, see {self.log}")
        return json.loads(line)

    @property
    def pid(self):
        return self.process.pid

    def log_bytes(self):
        return self.log.stat().st_size

    def has_said(self, words, after_bytes=0):
        """Whether its log has these words, from there on."""
        with self.log.open() as log:
            log.seek(after_bytes)
            return words in log.read()

    def cpu_seconds(self):
        """What it has computed so far, in all its threads."""
        # After the name, which may hold anything, come the state and 10 more numbers before user and system time.
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        self.is_leaving |= number == signal.SIGTERM
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Ends it as an operator would; its exit status."""
        if self.is_alive():
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
        return self.wait_until_gone()

    def wait_until_gone(self):
        """Returns its exit status; it has been asked to end."""
        try:
            return self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Unsettled(f"{self.name} did not end on SIGTERM, see {self.log}") from None


class Executor(Process):
    """An executor with a work directory of its own."""

    def __init__(self, name, coordinator, folder, environment, node, memory):
        self.work_dir = folder / name
        arguments = ["executor", "--coordinator", coordinator, "--name", name, "--vcores", "1", "--memory", memory]
        arguments += ["--work-dir", str(self.work_dir), "--data-dir", str(folder / "data"), *node.arguments()]
        super().__init__(name, arguments, folder, environment, node)

    def shuffle_files(self):
        """The files of the running job: {(stage, part): [paths]}."""
        return files_of(self.work_dir)


@dataclass(frozen=True)
class Node:
    """Where a process runs: its address, and the command before its own that brings it there."""

    host: str = "127.0.0.1"
    prefix: tuple = ()

    def arguments(self):
        return [] if self.host == "127.0.0.1" else ["--listen", self.host, "--insecure"]


class Cluster:
    """A coordinator with fixed ports, three executors, and a connection that watches them."""

    def __init__(self, folder, nodes=(Node(),) * 4, memory="2GB", executor_memory="1GB", **environment):
        self.folder, self.executor_memory = folder, executor_memory
        link_binary(folder / "grappe")
        self.executor_wait_seconds = EXECUTOR_WAIT_SECONDS_MAX
        if offers("executor_wait_seconds_max"):
            self.executor_wait_seconds = SHORT_EXECUTOR_WAIT_SECONDS_MAX
            environment["GRAPPE_SERVER__EXECUTOR_WAIT_SECONDS_MAX"] = str(SHORT_EXECUTOR_WAIT_SECONDS_MAX)
        self.environment = clean_environment(GRAPPE_LOG="info", **environment)
        flight, cluster, http = free_ports(3)
        node, *others = nodes
        self.flight, self.coordinator = f"grpc://{node.host}:{flight}", f"{node.host}:{cluster}"
        arguments = ["server", "--flight-port", str(flight), "--cluster-port", str(cluster), "--http-port", str(http)]
        arguments += ["--data-dir", str(folder / "data"), "--memory", memory, *node.arguments()]
        self.server = Process("coordinator", arguments, folder, self.environment, node)
        self.executors = [self.executor(number, node) for number, node in enumerate(others, 1)]
        self._watcher = None

    def executor(self, number, node=Node()):
        """One that is not a member of the cluster's own ones yet."""
        place = (self.coordinator, self.folder, self.environment, node)
        return Executor(f"executor-{number}", *place, self.executor_memory)

    def processes(self):
        return [self.server, *self.executors]

    def start(self):
        """Starts what is not running, and returns when it is ready and all executors take tasks."""
        for process in self.processes():
            if process.is_leaving and process.is_alive():
                process.wait_until_gone()
        if not self.server.is_alive():
            self.server.start()
            self.server.wait_ready()
        dead = [executor for executor in self.executors if not executor.is_alive()]
        for executor in dead:
            executor.start()
        for executor in dead:
            executor.wait_ready()
        self.wait_until_whole()

    def stop(self):
        """Ends all that runs, executors first."""
        self.forget_watcher()
        for process in [*self.executors, self.server]:
            if process.is_alive():
                process.stop()

    def abandon(self):
        """Kills all that runs: something hung, and the next run shall not suffer from it."""
        self.forget_watcher()
        for process in self.processes():
            if process.is_alive():
                process.kill()

    def connect(self):
        return flightsql.connect(self.flight, autocommit=True)

    def forget_watcher(self):
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            try:
                watcher.close()
            except (adbc_driver_manager.Error, RuntimeError):
                pass  # Even closing fails when nobody is there.

    def ask(self, sql):
        """The rows of a statement on the watching connection."""
        try:
            if self._watcher is None:
                self._watcher = self.connect()
            with self._watcher.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall()
        except (adbc_driver_manager.Error, RuntimeError):
            self.forget_watcher()
            raise

    def members(self):
        """What the coordinator knows of executors: {pid: (state, running tasks)}; nothing if it does not answer."""
        try:
            return {pid: facts for pid, *facts in self.ask("SELECT pid, state, running_tasks FROM system.executors")}
        except (adbc_driver_manager.Error, RuntimeError):
            return {}

    def is_active(self, executor):
        return self.members().get(executor.pid, ("", 0))[0] == "active"

    def wait_until_whole(self, seconds_max=START_SECONDS_MAX):
        """Returns when every living executor takes tasks."""
        def missing():
            members = self.members()
            living = [executor for executor in self.executors if executor.is_alive()]
            return [executor.name for executor in living if members.get(executor.pid, [""])[0] != "active"]

        wait_until(lambda: not missing(), lambda: f"{missing()} active", seconds_max, 0.02)

    def wait_until_idle(self, seconds_max):
        """Returns when no task runs."""
        def running():
            members = self.members()
            return [executor.name for executor in self.executors if members.get(executor.pid, ["", 0])[1]]

        wait_until(lambda: not running(), lambda: f"{running()} idle", seconds_max, 0.02)

    def wait_until_empty(self, seconds_max=SETTLE_SECONDS_MAX):
        """Returns when no shuffle file of any job is left."""
        def holding():
            return [executor.name for executor in self.executors if executor.shuffle_files()]

        wait_until(lambda: not holding(), lambda: f"shuffle files gone from {holding()}", seconds_max, 0.02)
