"""Connections that run statements until they are told to stop, and what came of each."""

import random
import threading
import time
from dataclasses import dataclass

from client import ClientProcess
from session import ERRORS, EXHAUSTED, RETRYABLE, Session, Wrong, code_of
from statements import HEAVY, KINDS

HUNG_SECONDS = 120
TRIES_MAX = 20
PAUSES_PER_SECOND = 2
RETRY_PAUSE_SECONDS = 0.5
# What nobody should ever see.
BAD = ("wrong", "failed", "hung")
OUTCOMES = ("right", "exhausted", "vanished", *BAD)


@dataclass
class Done:
    """One statement: its kind, when it began, what came of it, how often it was tried again, and what was bad."""

    kind: str
    began: float
    seconds: float
    outcome: str
    retries: int = 0
    says: str = ""


class Client(threading.Thread):
    """One connection; its statements follow from its seed."""

    def __init__(self, flight, seed, stop):
        super().__init__(daemon=True)
        self.session, self.random, self.stop = Session(flight), random.Random(seed), stop
        self.done, self.kind = [], None

    def run(self):
        names, weights = list(KINDS), [weight for weight, _ in KINDS.values()]
        while not self.stop.is_set():
            [self.kind] = self.random.choices(names, weights)
            # Some leave and come back.
            if self.random.random() < 0.02:
                self.session.close()
            self.done.append(self.measured(self.kind))
            self.stop.wait(self.random.expovariate(PAUSES_PER_SECOND))
        self.session.close()

    def measured(self, kind):
        began = time.monotonic()
        # A statement that is tried again is the same.
        state, retries = self.random.getstate(), 0
        while True:
            self.random.setstate(state)
            outcome, says = self.outcome(kind)
            if outcome != "again" or retries == TRIES_MAX:
                break
            retries += 1
            time.sleep(RETRY_PAUSE_SECONDS)
        if outcome == "again":
            outcome, says = "failed", f"{TRIES_MAX} times: {says}"
        return Done(kind, began, time.monotonic() - began, outcome, retries, says)

    def outcome(self, kind):
        try:
            KINDS[kind][1](self.session, self.random, self.stop)
        except Wrong as error:
            return "wrong", str(error)
        except ERRORS as error:
            code = code_of(error)
            says = f"{self.session.text}: {error}"
            if code == RETRYABLE and not self.session.delivered:
                return "again", says
            if code == EXHAUSTED and kind in HEAVY:
                return "exhausted", says
            return "failed", says
        return "right", ""

    def hung(self):
        """The statement that has run for too long, if one has."""
        began, text = self.session.began, self.session.text
        if began is not None and time.monotonic() - began > HUNG_SECONDS:
            return Done(self.kind, began, time.monotonic() - began, "hung", 0, text)
        return None


class Vanisher(threading.Thread):
    """Clients that are killed while they ask."""

    PAUSE_SECONDS = 4

    def __init__(self, flight, seed, stop):
        super().__init__(daemon=True)
        self.flight, self.random, self.stop, self.done = flight, random.Random(seed), stop, []

    def run(self):
        while not self.stop.is_set():
            began = time.monotonic()
            client = ClientProcess(self, "SELECT count(*) FROM range(0, 100000000000) WHERE sin(value) > 2")
            client.start()
            self.stop.wait(self.random.uniform(0.2, 2))
            client.kill()
            self.done.append(Done("vanished", began, time.monotonic() - began, "vanished"))
            self.stop.wait(self.PAUSE_SECONDS)

    def hung(self):
        return None

