"""The supervisor, watching tiny processes that are real: most of them a shell that sleeps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from infra.supervisor import FolderInUse, Service, ServiceFailed, Supervisor, birth_mark, command_of, touched
from tests.support.waiting import eventually


def shell(name, script="exec sleep 60", **rest):
    return Service(name=name, argv=["sh", "-c", script], **rest)


@pytest.fixture
def said():
    return []


@pytest.fixture
def supervisor(tmp_path, said):
    with Supervisor(tmp_path / "data", say=said.append) as supervisor:
        yield supervisor


def test_a_service_starts_when_what_it_waits_for_is_ready_and_stops_before_it(tmp_path):
    order = tmp_path / "order"
    ready = tmp_path / "ready"
    # "exec" would lose the trap; a shell runs it when the sleep it waits for is interrupted.
    told = "trap 'echo {0} stops >>{1}; exit' TERM; echo {0} starts >>{1}; {2} sleep 60 & wait"
    database = shell("database", told.format("database", order, f"touch {ready};"), ready=touched(ready))
    api = shell("api", told.format("api", order, ""), after=["database"], ready=touched(order))

    with Supervisor(tmp_path / "data") as supervisor:
        supervisor.start(api, database)
        eventually(lambda: "api starts" in order.read_text())

    assert order.read_text().split("\n") == [
        "database starts",
        "api starts",
        "api stops",
        "database stops",
        "",
    ]


def test_services_that_do_not_wait_for_each_other_start_side_by_side(supervisor, tmp_path):
    def when_the_other_runs(name, other):
        ready = tmp_path / f"{name}.ready"
        script = f"touch {tmp_path / name}; until [ -e {tmp_path / other} ]; do sleep 0.01; done; "
        return shell(name, script + f"touch {ready}; exec sleep 60", ready=touched(ready), ready_within=5)

    supervisor.start(when_the_other_runs("left", "right"), when_the_other_runs("right", "left"))

    assert set(supervisor.pids()) == {"left", "right"}


def test_a_killed_service_is_started_again(supervisor, said):
    supervisor.start(shell("worker"))

    killed = supervisor.kill("worker")
    supervisor.wait_until_ready("worker")

    assert supervisor.pids()["worker"] != killed
    assert supervisor.starts("worker") == 2
    assert said == ["worker was ended by SIGKILL; it is started again in 0.1 s"]


def test_a_service_that_keeps_crashing_is_started_less_and_less_often(supervisor, said):
    supervisor.start(shell("worker", "sleep 0.1; exit 3"))

    eventually(lambda: len(said) >= 3)

    assert [line.rsplit(" ", 2)[1] for line in said[:3]] == ["0.1", "0.2", "0.4"]
    assert "ended with status 3" in said[0]


def test_a_service_that_ends_before_it_is_ready_is_reported_with_the_end_of_its_log(supervisor, tmp_path):
    never = touched(tmp_path / "never")
    with pytest.raises(ServiceFailed, match=r"worker ended with status 1 before it was ready(.|\n)*no broker"):
        supervisor.start(shell("worker", "echo no broker >&2; exit 1", ready=never))


def test_a_service_that_takes_too_long_is_reported(supervisor, tmp_path):
    never = touched(tmp_path / "never")
    with pytest.raises(ServiceFailed, match=r"worker was not ready within 0\.2 seconds"):
        supervisor.start(shell("worker", ready=never, ready_within=0.2))


def test_a_program_that_does_not_exist_is_reported(supervisor, tmp_path):
    never = touched(tmp_path / "never")
    with pytest.raises(ServiceFailed, match="worker"):
        supervisor.start(Service(name="worker", argv=["no-such-program"], ready=never))


def test_a_job_is_ready_when_it_has_ended_well_and_is_not_repeated(supervisor, tmp_path):
    done = tmp_path / "done"
    supervisor.start(shell("migrate", f"sleep 0.1; echo once >>{done}", once=True), shell("api", after=["migrate"]))

    assert done.read_text() == "once\n"
    assert list(supervisor.pids()) == ["api"]


def test_a_job_that_fails_is_reported(supervisor):
    with pytest.raises(ServiceFailed, match=r"migrate ended with status 7(.|\n)*column is missing"):
        supervisor.start(shell("migrate", "echo column is missing; exit 7", once=True))


def test_a_file_left_by_an_earlier_run_does_not_make_a_service_ready(tmp_path):
    heartbeat = tmp_path / "worker.alive"
    heartbeat.touch()
    os.utime(heartbeat, (1, 1))

    assert not touched(heartbeat)(time.time())
    heartbeat.touch()
    assert touched(heartbeat)(time.time())


def test_a_service_that_does_not_listen_is_killed_with_what_it_started(tmp_path, said):
    child = tmp_path / "child"
    script = f"trap '' TERM; sleep 60 & echo $! >{child}.new; mv {child}.new {child}; wait; sleep 60"
    with Supervisor(tmp_path / "data", say=said.append) as supervisor:
        supervisor.start(shell("deaf", script, ready=touched(child), stop_within=0.2))
        pid = supervisor.pids()["deaf"]
        grandchild = int(child.read_text())

    assert not birth_mark(pid)
    eventually(lambda: not birth_mark(grandchild))
    assert said == ["deaf did not stop within 0.2 s; it is killed"]


def test_cpu_time_counts_children_and_processes_that_have_died(supervisor, tmp_path):
    ready = tmp_path / "ready"
    busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"
    supervisor.start(shell("worker", f"sh -c '{busy}' & {busy}; wait; touch {ready}; sleep 60", ready=touched(ready)))

    used = supervisor.cpu_seconds("worker")
    supervisor.kill("worker")

    assert used > 0
    assert supervisor.cpu_seconds("worker") >= used / 2  # the shell's own half at least


def test_waiting_for_a_service_that_does_not_come_back_has_an_end(supervisor, tmp_path):
    once = tmp_path / "once"
    ready = tmp_path / "ready"
    script = f"[ -e {once} ] || touch {ready}; touch {once}; exec sleep 60"
    supervisor.start(shell("worker", script, ready=touched(ready)))

    supervisor.kill("worker")
    with pytest.raises(ServiceFailed, match=r"worker was not ready again within 0\.4 seconds"):
        supervisor.wait_until_ready("worker", within=0.4)


def test_environment_and_log(supervisor):
    supervisor.start(shell("worker", "echo $LANE; exec sleep 60", env={"LANE": "settle"}))

    eventually(lambda: supervisor.log("worker").read_text() == "settle\n")


def test_a_second_run_in_the_same_folder_is_turned_away(supervisor):
    with pytest.raises(FolderInUse, match=f"process {os.getpid()}"), Supervisor(supervisor.data_dir):
        pass


def test_an_unknown_dependency_is_a_mistake(supervisor):
    with pytest.raises(ValueError, match="api waits for databse"):
        supervisor.start(shell("api", after=["databse"]))
    assert supervisor.pids() == {}


def test_a_name_is_given_once(supervisor):
    supervisor.start(shell("api"))
    with pytest.raises(ValueError, match="there is a service api already"):
        supervisor.start(shell("api"))


RUN = """
    import contextlib, signal, sys
    from pathlib import Path
    from infra.supervisor import Service, Supervisor

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background of a shell begins without it
    with contextlib.suppress(KeyboardInterrupt), Supervisor(Path(sys.argv[1])) as supervisor:
        supervisor.start(Service(name="worker", argv=["sh", "-c", sys.argv[2]]))
        print(supervisor.pids()["worker"], flush=True)
        supervisor.wait()
"""


@pytest.fixture
def run(tmp_path):
    """Start a run of its own in the data folder; gives its process and the pid of its worker."""
    started = []

    def start(script="exec sleep 60"):
        command = [sys.executable, "-c", textwrap.dedent(RUN), str(tmp_path / "data"), script]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process, int(process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_asked_to_stop_stops_its_services(run, number):
    process, worker = run()

    process.send_signal(number)

    assert process.wait(timeout=10) == 0
    assert not birth_mark(worker)


def test_no_service_outlives_a_run_that_is_killed(run):
    process, worker = run()
    eventually(lambda: command_of(worker).startswith("sleep"))  # by then the kernel has been asked

    process.kill()

    eventually(lambda: not birth_mark(worker))


def test_what_outlives_a_killed_run_is_ended_by_the_next(run, tmp_path, said):
    # The worker asks the kernel not to be told of its parent's death.
    process, worker = run("exec setpriv --pdeathsig clear sleep 60")
    eventually(lambda: command_of(worker).startswith("sleep"))
    process.kill()
    process.wait()
    assert birth_mark(worker)

    with Supervisor(tmp_path / "data", say=said.append):
        assert not birth_mark(worker)
    assert said == [f"worker (process {worker}) is left over from a run that was killed; it is ended"]
