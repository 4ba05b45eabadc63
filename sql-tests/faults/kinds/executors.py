"""Executors that die, stop for a while, or leave."""

import signal
import subprocess
import time

from cluster import STOP_SECONDS_MAX
from kinds.fault import Fault
from outcome import UNAVAILABLE
from shuffle import is_complete

# The coordinator takes an executor for lost after this.
SILENCE_SECONDS_MAX = 10
# Then the client hears of it.
ANSWER_SECONDS_MAX = 5
BACK_SECONDS_MAX = 15
# Between two deaths of a rolling restart.
APART_SECONDS_MAX = 1


class KillOne(Fault):
    """SIGKILL at a random moment."""

    name = "kill1"

    def inject(self, scene):
        victim, part = scene.wait_for_one(scene.executors())
        victim.kill()
        return f"killed {part} {scene.struck()}"


class KillAfterMap(Fault):
    """SIGKILL of an executor that holds parts of a stage which is complete and being read."""

    name = "kill_after_map"

    def inject(self, scene):
        executors = scene.executors()
        victim, stage = scene.wait_for(lambda: self.holder(executors))
        victim.kill()
        return f"killed {victim.name} with parts of stage {stage}, the next one running, {scene.struck()}"

    @staticmethod
    def holder(executors):
        """Who holds parts of the last stage but one, which is complete as far as its files tell."""
        files = {executor: executor.shuffle_files() for executor in executors}
        stages = sorted({stage for found in files.values() for stage, _ in found})
        if len(stages) < 2:
            return None
        before = stages[-2]
        parts = {one: [of for (stage, _), of in found.items() if stage == before] for one, found in files.items()}
        if not all(is_complete(of) for found in parts.values() for of in found):
            return None
        return next(((one, before) for one, found in parts.items() if found), None)


class KillTwo(Fault):
    """SIGKILL of two of three at once."""

    name = "kill2"

    def inject(self, scene):
        victims = scene.executors()[:2]
        parts = scene.wait_for_all(victims)
        for victim in victims:
            victim.process.kill()
        return f"killed {' and '.join(parts)} {scene.struck()}"


class Rolling(Fault):
    """SIGKILL of all, one after another; each is started again when the next dies."""

    name = "rolling"
    seconds_max = 120

    def inject(self, scene):
        hits, dead = [], None
        for victim in scene.executors():
            if dead is not None:
                scene.pause(scene.random.uniform(0, APART_SECONDS_MAX))
                if not self.wait_for_work(scene, victim):
                    break
            if dead is None:
                scene.wait_for_all([victim])
            victim.kill()
            hits.append(f"{victim.name} {scene.struck() if dead is None else f'at {scene.elapsed():.2f} s'}")
            if dead is not None:
                dead.start()
            dead = victim
        return f"killed {', '.join(hits)}"

    @staticmethod
    def wait_for_work(scene, victim):
        """Whether the query goes on until the next victim has a part in it, and so does another that lives."""
        while not scene.client.has_ended():
            members = scene.cluster.members()
            others = [one for one in scene.cluster.executors if one is not victim and one.is_alive()]
            if scene.part(victim, members) and any(members.get(one.pid, [""])[0] == "active" for one in others):
                return True
            scene.pause(0.05)
        return False


class KillAll(Fault):
    """SIGKILL of all; they are started again after three seconds."""

    name = "kill_all"
    seconds_max = 120

    def inject(self, scene):
        _, part = scene.wait_for_one(scene.executors())
        for victim in scene.cluster.executors:
            victim.process.kill()
        hit = f"killed all, {part}, {scene.struck()}"
        scene.pause(3)
        for victim in scene.cluster.executors:
            victim.process.wait()
            victim.start()
        return hit


class Gone(Fault):
    """SIGKILL of all, and nobody comes back."""

    name = "gone"
    refusals = (UNAVAILABLE,)

    def prepare(self, cluster):
        self.seconds_max = SILENCE_SECONDS_MAX + cluster.executor_wait_seconds + ANSWER_SECONDS_MAX

    def inject(self, scene):
        _, part = scene.wait_for_one(scene.executors())
        for victim in scene.cluster.executors:
            victim.process.kill()
        return f"killed all, {part}, {scene.struck()}"


class StopShort(Fault):
    """SIGSTOP for five seconds: too short to be lost."""

    name = "stop_short"

    victim = None

    def seconds(self, scene):
        return 5

    def inject(self, scene):
        self.victim, part = scene.wait_for_one(scene.executors())
        self.victim.signal(signal.SIGSTOP)
        hit = f"stopped {part} {scene.struck()}"
        seconds = self.seconds(scene)
        # It stays stopped for its time, whether the query has ended or not.
        end = time.monotonic() + seconds
        scene.pause(seconds)
        time.sleep(max(0, end - time.monotonic()))
        self.victim.signal(signal.SIGCONT)
        return f"{hit} for {seconds:.1f} s"

    def heal(self, scene):
        if self.victim is not None:
            self.victim.signal(signal.SIGCONT)

    def broken_promise(self, scene):
        return self.missing_member(scene, BACK_SECONDS_MAX)


class StopLong(StopShort):
    """SIGSTOP until it is lost: for 30 seconds, or until what it did is being done by others."""

    name = "stop_long"

    def seconds(self, scene):
        return scene.random.choice([30, scene.random.uniform(SILENCE_SECONDS_MAX, SILENCE_SECONDS_MAX + 3)])


class Drain(Fault):
    """SIGTERM: the executor finishes its tasks, hands out its files, and leaves."""

    name = "executor_drain"

    def inject(self, scene):
        self.victim, part = scene.wait_for_one(scene.executors())
        self.victim.signal(signal.SIGTERM)
        return f"drained {part} {scene.struck()}"

    def broken_promise(self, scene):
        try:
            status = self.victim.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            return f"{self.victim.name} did not end within {STOP_SECONDS_MAX} s of SIGTERM"
        return f"{self.victim.name} ended with status {status}" if status else None
