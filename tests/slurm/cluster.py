"""A SLURM of one's own: one node with one `gpu`, on this machine, from programs on PATH or from Debian's packages.

Packages are downloaded and unpacked into a cache folder, and run from there: nothing is installed. Daemons run as
whoever runs the tests, on free ports, with keys, sockets and state in a folder of their own.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
# What the node says it has. Tests need not use it up, and SLURM is told not to look.
CPUS, MEMORY_MB = 2, 64000

SLURM_CONF = """\
ClusterName=trazo
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
{plugins}
# Without cgroups, which need rights that a container or a user may not have.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
SwitchType=switch/none
MpiDefault=none
GresTypes=gpu
ReturnToService=2
# Nobody waits for long.
SchedulerParameters=sched_interval=1,batch_sched_delay=1
KillWait=2
OverTimeLimit=0
MinJobAge=600
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class NoSlurm(Exception):
    """SLURM is neither here nor to be had; the message says why."""


@dataclass(frozen=True)
class Programs:
    """Where SLURM's programs are: folders for PATH and for libraries, and that of its plugins; none: the system's."""

    paths: tuple[Path, ...] = ()
    libraries: tuple[Path, ...] = ()
    plugins: Path | None = None

    def environment(self) -> dict[str, str]:
        """Return environment variables that let its programs be found and run."""
        found = {"PATH": os.pathsep.join([*map(str, self.paths), os.environ["PATH"]])}
        if self.libraries:
            before = [path for path in [os.environ.get("LD_LIBRARY_PATH")] if path]
            found["LD_LIBRARY_PATH"] = os.pathsep.join([*map(str, self.libraries), *before])
        return found


def find_programs(cache: Path) -> Programs:
    """Return SLURM's programs: those on PATH, or Debian's, downloaded into `cache` the first time.

    Raises
    ------
    NoSlurm
        If there are none, and none to be had.
    """
    search = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
    if all(shutil.which(program, path=search) for program in PROGRAMS):
        return Programs(paths=(Path("/usr/sbin"), Path("/sbin")))
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise NoSlurm(f"needs {', '.join(PROGRAMS)} on PATH, or apt-get to download them")
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (cache / "whole").exists():
            _unpack_packages(cache)
            (cache / "whole").touch()
    plugins = next((cache / "root/usr/lib").glob("*/slurm*/auth_munge.so"), None)
    if plugins is None:
        raise NoSlurm(f"the packages in {cache} have no plugin auth_munge; remove that folder to download them anew")
    libraries = (plugins.parent.parent, plugins.parent)
    return Programs((cache / "root/usr/sbin", cache / "root/usr/bin"), libraries, plugins.parent)


def _unpack_packages(cache: Path) -> None:
    """Download what an installation of SLURM would, and unpack it without installing it."""
    shutil.rmtree(cache / "root", ignore_errors=True)
    archives = cache / "archives"
    archives.mkdir(exist_ok=True)
    options: list[str] = []
    try:
        packages = _missing_packages(options)
        _output(["apt-get", *options, "--quiet", "download", *packages], archives)
    except NoSlurm:
        # Lists of packages may be missing or old; only an administrator may renew the system's.
        (cache / "lists/partial").mkdir(parents=True, exist_ok=True)
        (cache / "apt/archives/partial").mkdir(parents=True, exist_ok=True)
        options = ["-o", f"Dir::State::Lists={cache / 'lists'}", "-o", f"Dir::Cache={cache / 'apt'}"]
        _output(["apt-get", *options, "--quiet", "update"], archives)
        packages = _missing_packages(options)
        _output(["apt-get", *options, "--quiet", "download", *packages], archives)
    for archive in sorted(archives.glob("*.deb")):
        _output(["dpkg", "-x", str(archive), str(cache / "root")], archives)
    # Debian's installation would link the programs to the names by which they know what they are.
    for program in ("slurmctld", "slurmd", "slurmstepd"):
        link = cache / "root/usr/sbin" / program
        if not link.exists():
            link.symlink_to(f"{program}-wlm")


def _missing_packages(options: list[str]) -> list[str]:
    command = ["apt-get", *options, "--simulate", "--no-install-recommends", "install", *PACKAGES]
    found = re.findall(r"^Inst (\S+)", _output(command), flags=re.MULTILINE)
    if not found:
        raise NoSlurm(f"{' '.join(command)} names no package to install")
    return found


def _output(command: list[str], folder: Path | None = None) -> str:
    done = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
        env={**os.environ, "LC_ALL": "C"}, timeout=300,
    )  # fmt: skip
    if done.returncode:
        raise NoSlurm(f"{' '.join(command[:6])} … failed: {done.stdout[-500:].strip()}")
    return done.stdout


class Cluster:
    """A running SLURM; `environment` is what its commands need."""

    def __init__(self, programs: Programs) -> None:
        # A short path: those of sockets may have 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        # What is inherited of another SLURM would lead commands there.
        own = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
        self.environment = {**own, **programs.environment(), "SLURM_CONF": str(self.folder / "slurm.conf")}
        self._daemons: list[tuple[str, subprocess.Popen]] = []
        try:
            self._start(programs)
        except BaseException:
            self.stop()
            raise

    def _start(self, programs: Programs) -> None:
        folder, host = self.folder, socket.gethostname().partition(".")[0]
        for part in ("state", "spool"):
            (folder / part).mkdir()
        (folder / "munge.key").write_bytes(os.urandom(128))
        (folder / "munge.key").chmod(0o400)
        plugins = f"PluginDir={programs.plugins}" if programs.plugins else ""
        user = self.run("id", "-un").strip()
        (folder / "slurm.conf").write_text(
            SLURM_CONF.format(
                host=host, folder=folder, ports=_free_ports(2), user=user, plugins=plugins, cpus=CPUS, memory=MEMORY_MB
            )
        )
        (folder / "gres.conf").write_text("Name=gpu File=/dev/null\n")
        version = int(re.search(r"(\d+)\.\d+", self.run("slurmctld", "-V")).group(1))
        (folder / "cgroup.conf").write_text(f"CgroupPlugin={'disabled' if version >= 23 else 'cgroup/v1'}\n")
        files = {
            option: folder / name
            for option, name in {
                "--key-file": "munge.key",
                "--socket": "munge.socket",
                "--pid-file": "munged.pid",
                "--log-file": "munged.log",
                "--seed-file": "munge.seed",
            }.items()
        }
        self._launch("munged", "--foreground", "--force", *(f"{option}={path}" for option, path in files.items()))
        self.wait(lambda: (folder / "munge.socket").exists(), 20, "munged to listen")
        # The executor runs jobs by an srun without the variables of SLURM, of which one says where the rest is said.
        srun = shutil.which("srun", path=self.environment["PATH"])
        (folder / "bin").mkdir()
        (folder / "bin/srun").write_text(f"#!/bin/sh\nSLURM_CONF='{folder}/slurm.conf' exec '{srun}' \"$@\"\n")
        (folder / "bin/srun").chmod(0o755)
        self.environment["PATH"] = f"{folder / 'bin'}{os.pathsep}{self.environment['PATH']}"
        self._launch("slurmctld", "-D")
        stepd = next((path / "slurmstepd" for path in programs.paths if (path / "slurmstepd").exists()), None)
        self._launch("slurmd", "-D", *(["-d", str(stepd)] if stepd else []))
        self.wait(lambda: "idle" in self.run("sinfo", "--noheader", "--format=%T", check=False), 40, "an idle node")

    def _launch(self, program: str, *arguments: str) -> None:
        path = shutil.which(program, path=self.environment["PATH"])
        # Should the tests be killed, the daemons are too.
        together = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
        with (self.folder / f"{program}.out").open("w") as output:
            daemon = subprocess.Popen(
                [*together, path, *arguments], env=self.environment, stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, start_new_session=True,
            )  # fmt: skip
        self._daemons.append((program, daemon))

    def run(self, *command: str, check: bool = True) -> str:
        """Return what a command prints, run where the cluster's programs are found."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def jobs(self) -> dict[int, dict[str, str]]:
        """Return what SLURM knows of every job of the last minutes, by number: state, comment, limits, …"""
        shown = self.run("scontrol", "--oneliner", "show", "job", check=False)
        several = [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in shown.splitlines() if line.startswith("JobId=")]
        return {int(job["JobId"]): job for job in several}

    def wait(self, until: Callable[[], object], seconds: float, what: str) -> object:
        """Return the first true thing that `until` returns; what is waited for is named where it does not come."""
        limit = time.monotonic() + seconds
        while not (found := until()):
            for program, daemon in self._daemons:
                assert daemon.poll() is None, f"{program} ended:\n{self.logs()}"
            assert time.monotonic() < limit, f"waited {seconds} s in vain for {what}:\n{self.logs()}"
            time.sleep(0.1)
        return found

    def logs(self) -> str:
        """Return the ends of all logs."""
        texts = {path.name: path.read_text(errors="replace")[-2000:] for path in sorted(self.folder.glob("*.out"))}
        return "\n".join(f"--- {name}\n{text}" for name, text in texts.items())

    def stop(self) -> None:
        """End all jobs and daemons, and remove the cluster's folder."""
        try:
            if self._daemons and all(daemon.poll() is None for _, daemon in self._daemons):
                self.end_jobs()
        finally:
            for _, daemon in reversed(self._daemons):
                _end(daemon)
            shutil.rmtree(self.folder, ignore_errors=True)

    def end_jobs(self) -> None:
        """Kill all jobs, and wait until they are gone."""
        for number in self.active():
            self.run("scancel", "--full", "--signal=KILL", str(number), check=False)
            self.run("scancel", str(number), check=False)
        self.wait(lambda: not self.active(), 30, "killed jobs to be gone")

    def active(self) -> list[int]:
        """Return the numbers of jobs that wait, run, or are being ended."""
        over = ("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")
        return [number for number, job in self.jobs().items() if job["JobState"] not in over]


def _end(daemon: subprocess.Popen) -> None:
    if daemon.poll() is None:
        daemon.send_signal(signal.SIGTERM)
    try:
        daemon.wait(10)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def processes_of(job: int, script: str) -> list[int]:
    """Return the processes by which a job runs a Python script, whose name the file's ends with."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            program, first = (folder / "cmdline").read_bytes().split(b"\0")[:2]
            environment = (folder / "environ").read_bytes().split(b"\0")
        except (OSError, ValueError):
            # No process, one that has just ended, or not ours.
            continue
        if b"python" in program and first.endswith(script.encode()) and f"SLURM_JOB_ID={job}".encode() in environment:
            found.append(int(folder.name))
    return found
