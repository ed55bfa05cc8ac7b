"""Signals: the first ends a run in good order, the second at once."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from worldplan.agent.training import signals
from worldplan.agent.training.signals import Signals


def soon(number: int) -> None:
    threading.Timer(0.05, os.kill, (os.getpid(), number)).start()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_noted_and_leaves_what_may_hang(number: signal.Signals) -> None:
    with Signals() as caught:
        os.kill(os.getpid(), number)
        assert caught.received == number.name
        with pytest.raises(KeyboardInterrupt), caught.interruptible():
            raise AssertionError("not reached")
    with Signals() as caught:
        soon(number)
        with pytest.raises(KeyboardInterrupt), caught.interruptible():
            time.sleep(60)
        assert caught.received == number.name


def test_handlers_are_restored_and_nohup_is_respected() -> None:
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals() as caught:
            os.kill(os.getpid(), signal.SIGHUP)
            assert caught.received is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, former)
    assert {n: signal.getsignal(n) for n in before} == before
    assert signal.set_wakeup_fd(-1) == -1


def test_it_may_be_entered_in_any_thread() -> None:
    def enter() -> None:
        with Signals() as caught, caught.interruptible():
            done.append(True)

    done: list[bool] = []
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert done


# Loaded by its path: importing the package takes longer than the tests.
LOAD = """
import hashlib, importlib.util, os, signal, sys, time
spec = importlib.util.spec_from_file_location("signals", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
with module.Signals() as caught:
"""
SWALLOWS = """
    print("ready", flush=True)
    while True:
        try:
            with caught.interruptible():
                time.sleep(60)
        except BaseException:
            pass
"""
NATIVE = """
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha512", b"x", b"y", 10**9)
"""
FORKS = """
    if os.fork() == 0:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    assert os.WTERMSIG(os.wait()[1]) == signal.SIGTERM, "a child has the usual signals"
    time.sleep(0.4)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.1)
    assert caught.received == "SIGTERM"
"""


@pytest.mark.parametrize("body", [SWALLOWS, NATIVE])
def test_the_second_signal_ends_the_process_whatever_it_does(body: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", LOAD + body, signals.__file__], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGHUP)  # at the same time: one event
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 128 + signal.SIGTERM


def test_forked_processes_have_the_usual_signals() -> None:
    command = [sys.executable, "-c", LOAD + FORKS, signals.__file__]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr


def test_where_somebody_types_the_second_signal_leaves_the_process_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    monkeypatch.setattr(signals, "_ONE_EVENT", 0.0)
    before = signal.set_wakeup_fd(-1)  # a notebook has its own
    with Signals() as caught:
        assert signal.set_wakeup_fd(-1) == -1
        os.kill(os.getpid(), signal.SIGINT)
        assert caught.received == "SIGINT"
        assert not caught.twice
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert caught.twice
    signal.set_wakeup_fd(before)
