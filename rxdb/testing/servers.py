"""Throw-away servers: found on this machine, started on a free port of 127.0.0.1, and ended.

What differs between servers is in their dialects' modules. This one needs Linux or macOS and the
standard library alone: ``ci/servers`` uses it before anything is installed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Started = Callable[[subprocess.Popen[bytes], int], None]

T = TypeVar("T")

PATIENCE = 60
"""Seconds until a server must answer; 4 s is usual when its data is new."""

ATTEMPTS = 3
"""Another process can take a free port before the server does."""

PATH_LIMIT = 103
"""Bytes in a unix socket's path on macOS; Linux takes 107."""

MEMORY = Path("/dev/shm")  # noqa: S108 - Linux's own place for files in memory
MEMORY_NEEDED = 4 * 2**30
"""Bytes that it must have. On ext4 PostgreSQL makes a database the slower the more tests have just
dropped: for each new file it passes over those deleted in the last 35 s (``recently_deleted`` in
Linux's fs/ext4/ialloc.c)."""

LONGEST_NAME = 10
"""Letters in the name of a server."""

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

USER = "rxdb"
"""The user that may do everything on a throw-away server, and its password."""

USERS = f"""\
CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{USER}';
GRANT ALL ON *.* TO '{USER}'@'%' WITH GRANT OPTION;
"""
"""What a server that begins without users is told."""


class ServerError(Exception):
    """A server cannot be found, installed or started; the message says what to do."""


class CancelledError(Exception):
    """Another server failed or Ctrl-C came, so this one gave up."""


class PortTakenError(ServerError):
    """Another process took the port between the choice and the start."""


@dataclass(frozen=True)
class Binaries:
    """One server's programs, found on this machine."""

    server: tuple[str, ...]
    """The command that runs the server, before its arguments."""
    initialiser: tuple[str, ...]
    """The command that makes a data folder, before its arguments."""
    version: str
    """What the server answers to --version."""


@dataclass(frozen=True)
class Server:
    """What differs between the servers."""

    name: str
    """Its name on the command line, in RXDB_TEST_NAME and in the URL."""
    database: str
    """The database in the URL: one that every new server has."""
    programs: str
    """What must be on the PATH, in words."""
    packages: tuple[str, ...]
    """The packages of Debian and Ubuntu that have its programs."""
    unpacked: bool
    """Whether the packages are always unpacked: to install them would start a service, or alter
    the system's own server."""
    find: Callable[[Path], Binaries | None]
    """Finds the programs on the system, or else in this unpacked tree."""
    initialise: Callable[[Path], list[str]]
    """The arguments that make the folder `data` in this folder."""
    start: Callable[[Path, int], list[str]]
    """The arguments that serve the folder `data` in this folder on this port."""
    certificate: Callable[[Path], list[str]]
    """The arguments that use the certificate in this folder; none when it makes its own."""
    socket: Callable[[Path, int], Path]
    """Where its unix socket is."""
    hello: bytes
    """What a client says first."""
    is_ready: Callable[[bytes], bool]
    """Tells from the answer to a client's hello whether sessions can begin."""
    stop: signal.Signals
    """The signal that ends all sessions and then the server."""
    is_it: Callable[[bytes], bool] = bool
    """Tells from the same answer whether it is this server and not a relative."""

    @property
    def variable(self) -> str:
        """The environment variable with its URL."""
        return f"RXDB_TEST_{self.name.upper()}"

    def url(self, port: int) -> str:
        """Where the server on this port is."""
        return f"{self.name}://{USER}:{USER}@127.0.0.1:{port}/{self.database}"


def nothing(process: subprocess.Popen[bytes], port: int) -> None:
    """Note nothing of a process that was started."""


def find(server: Server) -> Binaries:
    """Find a server's programs; raise ServerError with what to do where they are not there."""
    found = server.find(cache_folder() / server.name)
    if found is None:
        raise ServerError(f"{server.name} is not on this machine. {advice(server)}")
    return found


def advice(server: Server) -> str:
    """Say how a server can be had."""
    package = "" if server.unpacked else f", run: apt-get install {' '.join(server.packages)}"
    return (
        f"Put {server.programs} on the PATH{package}, or set {server.variable} to a server's URL."
    )


class Group:
    """Servers that end with :meth:`stop`, or with this process however that ends.

    Another process ends them: it waits until this one closes a pipe, which the system does for a
    process that is killed.
    """

    def __init__(self) -> None:
        self.urls: dict[str, str] = {}
        self.folder: Path | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def start(self, servers: Iterable[Server]) -> None:
        """Start servers, all at once, unless they run; then :attr:`urls` has them by name.

        Raises ServerError when one of them cannot be started.
        """
        missing = [server for server in servers if server.name not in self.urls]
        if missing:
            folder = self._folder()
            self.urls |= in_parallel(lambda one, stop: self._start(one, folder, stop), missing)

    def stop(self) -> None:
        """End the servers, and remove their files."""
        if self._guard is not None and self._guard.stdin is not None:
            with undisturbed():
                self._guard.stdin.close()
                self._guard.wait()
        self._guard = self.folder = None
        self.urls = {}

    def _folder(self) -> Path:
        if self.folder is None:
            self.folder = short_folder(f"{USER}-{os.getpid()}-{os.urandom(4).hex()}")
            self.folder.mkdir()
            self.folder.chmod(0o755)  # the servers of root run as nobody
            command = [sys.executable, "-I", __file__, str(self.folder)]
            self._guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        return self.folder

    def _start(self, server: Server, folder: Path, cancelled: threading.Event) -> str:
        remove(folder / server.name)  # of a start that failed
        home = make_home(folder / server.name)

        def started(process: subprocess.Popen[bytes], _port: int) -> None:
            (folder / f"{process.pid}.pid").touch()

        port, process = launch(server, find(server), home, cancelled, started)
        process.returncode = 0  # the guard ends it, and this object would warn of it
        return server.url(port)


def guard(folder: Path) -> None:
    """Wait for the end of the process that has the other end of the pipe, then end the servers."""
    for number in ENDINGS:
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()

    def running() -> list[int]:
        pids = (int(path.stem) for path in folder.glob("*.pid"))
        return [pid for pid in pids if f"{folder}/" in command_line(pid)]

    # PostgreSQL gives its shared memory back after SIGQUIT, and ends its children
    for number, patience in ((signal.SIGQUIT, 3), (signal.SIGKILL, 6)):
        for pid in running():
            with suppress(ProcessLookupError):
                os.killpg(pid, number)
        deadline = time.monotonic() + patience
        while running() and time.monotonic() < deadline:
            time.sleep(0.01)
    remove(folder)


def launch(
    server: Server,
    binaries: Binaries,
    home: Path,
    cancelled: threading.Event,
    started: Started,
) -> tuple[int, subprocess.Popen[bytes]]:
    """Start a server in a folder of its own, and return its port and its process.

    *started* is told of each process that may have to be ended, with its port, or 0 as long as it
    only makes the data.
    """
    fill(server, binaries, home, cancelled, started)
    options = make_certificate(server, home, cancelled)

    def attempt() -> tuple[int, subprocess.Popen[bytes]]:
        port = free_port()
        command = [*binaries.server, *server.start(home, port), *options]
        process = spawn(command, home, as_nobody=True)
        started(process, port)
        answer = _wait_for(server, process, home, port, cancelled)
        if not server.is_it(answer):
            raise ServerError(f"What was started as {server.name} answers {answer!r}")
        return port, process

    for _ in range(ATTEMPTS - 1):
        with suppress(PortTakenError):
            return attempt()
    return attempt()


def _wait_for(
    server: Server,
    process: subprocess.Popen[bytes],
    home: Path,
    port: int,
    cancelled: threading.Event,
) -> bytes:
    log = home / "log"
    deadline = time.monotonic() + PATIENCE
    while not server.is_ready(answer := greet(server, home, port)):
        if process.poll() is not None:
            kind = PortTakenError if "Address already in use" in tail(log) else ServerError
            raise kind(f"{server.name} ended with status {process.returncode}:\n{tail(log)}")
        if time.monotonic() > deadline:
            _abandon(process)
            raise ServerError(f"{server.name} did not answer in {PATIENCE} s:\n{tail(log)}")
        if cancelled.wait(0.02):
            _abandon(process)
            raise CancelledError
    return answer


def _abandon(process: subprocess.Popen[bytes]) -> None:
    """End a server that still starts, when a request to stop can be lost: 21 s were seen."""
    process.send_signal(signal.SIGQUIT)  # PostgreSQL's children end too
    with suppress(subprocess.TimeoutExpired):
        process.wait(1)
    process.kill()
    process.wait()


def greet(server: Server, home: Path, port: int) -> bytes:
    """Ask over the socket in our own folder, where no other server can answer."""
    with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
        client.settimeout(5)
        client.connect(str(server.socket(home, port)))
        client.sendall(server.hello)
        return client.recv(1024)
    return b""


def fill(
    server: Server,
    binaries: Binaries,
    home: Path,
    cancelled: threading.Event,
    started: Started = nothing,
) -> None:
    """Copy the data folder from a template; make the template the first time.

    Initialising takes PostgreSQL 0.9 s, MariaDB 0.6 s and MySQL 3.3 s, a copy 0.1 s.
    """
    recipe = repr((binaries.version, server.initialise(Path())))
    key = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    template = cache_folder() / "templates" / f"{server.name}-{key}"
    if template.exists():
        execute(["cp", "-a", str(template), str(home / "data")], home, cancelled, as_nobody=False)
        return
    command = [*binaries.initialiser, *server.initialise(home)]
    process = spawn(command, home, as_nobody=True)
    started(process, 0)
    finish(process, home, cancelled)
    with lock(template, cancelled):
        if not template.exists():
            with new_folder(template) as new:
                execute(["cp", "-a", f"{home}/data", str(new)], home, cancelled, as_nobody=False)


def make_certificate(server: Server, home: Path, cancelled: threading.Event) -> list[str]:
    """Make a certificate, and return the arguments to use it; none, and no TLS, without openssl."""
    options = server.certificate(home)
    if options and not shutil.which("openssl"):
        return []
    if options:
        key = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30"
        names = "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
        files = ["-out", f"{home}/server.crt", "-keyout", f"{home}/server.key"]
        execute([*key.split(), *names.split(), *files], home, cancelled)
    return options


def in_parallel(
    action: Callable[[Server, threading.Event], T], servers: list[Server]
) -> dict[str, T]:
    """Do this for all servers at once; when one fails or Ctrl-C comes, end the others first."""
    cancelled = threading.Event()
    pool = ThreadPoolExecutor(len(servers) or 1)
    try:
        futures = {server.name: pool.submit(action, server, cancelled) for server in servers}
        wait(futures.values(), return_when=FIRST_EXCEPTION)
    finally:
        with undisturbed():
            cancelled.set()
            pool.shutdown()
    failures = [error for future in futures.values() if (error := future.exception())]
    causes = [error for error in failures if not isinstance(error, CancelledError)]
    for error in causes:
        if not isinstance(error, ServerError):
            raise error
    if causes:
        raise ServerError("\n".join(map(str, causes)))
    return {name: future.result() for name, future in futures.items()}


def binaries_of(
    server: tuple[str, ...], initialiser: tuple[str, ...], *options: str
) -> Binaries | None:
    """Return these programs, each with these options, when both are there and the server runs."""
    if not server or not initialiser or not Path(initialiser[-1]).exists():
        return None
    version = version_of(server)
    return Binaries((*server, *options), (*initialiser, *options), version) if version else None


def from_tree(tree: Path, program: str) -> tuple[str, ...]:
    """Return the command for a program of an unpacked tree, which brings its own libraries."""
    path = tree / program
    if not path.exists():
        return ()
    folders = [*tree.glob("lib/*-linux-gnu*"), *tree.glob("usr/lib/*-linux-gnu*")]
    libraries = ":".join(map(str, folders))
    for loader in tree.glob("usr/lib*/ld*.so.*"):  # the tree has a C library too
        return (str(loader), "--library-path", libraries, "--argv0", str(path), str(path))
    return ("env", f"LD_LIBRARY_PATH={libraries}", str(path))


def find_on_path(program: str) -> list[Path]:
    folders = dict.fromkeys([*os.get_exec_path(), "/usr/local/sbin", "/usr/sbin"])
    programs = [Path(folder) / program for folder in folders]
    return [path for path in programs if path.is_file() and os.access(path, os.X_OK)]


def newest(names: Iterable[T]) -> list[T]:
    """Sort by the numbers in the names, the highest first."""
    return sorted(names, key=lambda name: [*map(int, re.findall(r"\d+", str(name)))], reverse=True)


def short(version: str) -> str:
    """Return the number in what a server answers to --version: 15.20 or 9.7.4."""
    numbers = re.search(r"(?:Ver|\(PostgreSQL\)) ([\d.]+)", version)
    return numbers[1] if numbers else version


def version_of(command: tuple[str, ...]) -> str:
    """Return what a program answers to --version; nothing when it does not run."""
    call = [*command, "--version"]
    with suppress(OSError, subprocess.SubprocessError):
        answer = subprocess.run(
            call, capture_output=True, check=True, cwd="/", timeout=20, text=True, **nobody()
        )
        return str(answer.stdout).strip()
    return ""


def spawn(command: list[str], folder: Path, *, as_nobody: bool) -> subprocess.Popen[bytes]:
    """Start a process that Ctrl-C at the terminal does not reach, so that we stop it in order."""
    environment = os.environ | {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    if as_nobody:
        kept = {name: environment[name] for name in ("PATH", "TZ", "LC_ALL") if name in environment}
        # a MariaDB that starts deletes the temporary tables of all others in /tmp
        environment = kept | {"TMPDIR": str(folder)}
    rights: dict[str, Any] = nobody() if as_nobody else {}
    popen: Any = subprocess.Popen  # which of its kinds it is, cannot be seen through the rights
    with (folder / "log").open("wb") as output:
        process: subprocess.Popen[bytes] = popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o022,
            **rights,
        )
    return process


def execute(
    command: list[str], folder: Path, cancelled: threading.Event, *, as_nobody: bool = True
) -> str:
    return finish(spawn(command, folder, as_nobody=as_nobody), folder, cancelled)


def finish(process: subprocess.Popen[bytes], folder: Path, cancelled: threading.Event) -> str:
    """Wait for a command's end and return what it said, or kill it when cancelled."""
    log = folder / "log"
    while process.returncode is None:
        if cancelled.is_set():
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise CancelledError
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    if process.returncode:
        command = process.args if isinstance(process.args, list) else [process.args]
        raise ServerError(f"{shlex.join(map(str, command))} failed:\n{tail(log)}")
    return log.read_text(errors="replace")


def nobody() -> dict[str, Any]:
    """Return Popen's arguments that drop root's rights: PostgreSQL and MySQL refuse to be root."""
    if os.getuid() != 0:
        return {}
    user = pwd.getpwnam("nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def command_line(pid: int) -> str:
    if Path("/proc/self/cmdline").exists():
        with suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
        return ""
    ps = ["ps", "-ww", "-o", "command=", "-p", str(pid)]  # macOS
    return subprocess.run(ps, capture_output=True, text=True, check=False).stdout


def short_folder(name: str) -> Path:
    """Return where a folder of this name is: in memory unless TMPDIR says where, and with a path so
    short that a unix socket fits into it."""
    for base in (*_in_memory(), Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 - its path is short
        longest = base / name / ("n" * LONGEST_NAME) / ".s.PGSQL.65535.lock"
        if len(bytes(longest)) <= PATH_LIMIT and is_open(base):
            return base / name
    raise ServerError("No temporary folder has a short path and lets the user nobody in.")


def _in_memory() -> Iterator[Path]:
    """Yield the folder in memory, where there is one that is large enough.

    What it has free does not count: the same folder must be found again.
    """
    is_there = "TMPDIR" not in os.environ and os.access(MEMORY, os.W_OK)
    if is_there and shutil.disk_usage(MEMORY).total >= MEMORY_NEEDED:
        yield MEMORY


def cache_folder() -> Path:
    """Return the folder that is kept: unpacked binaries and templates of data folders."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    for base in (home, Path("/var/cache")):
        folder = base / "rxdb"
        with suppress(OSError):
            if is_open(base):
                folder.mkdir(parents=True, exist_ok=True)
                folder.chmod(0o755)
                if is_open(folder):
                    return folder
    raise ServerError(f"{home} cannot be written. Set XDG_CACHE_HOME to a folder that can.")


def is_open(folder: Path) -> bool:
    """Tell whether the servers can enter a folder: as root they run as nobody."""
    return os.getuid() != 0 or all(
        path.stat().st_mode & 0o001 for path in (folder, *folder.parents) if path.exists()
    )


@contextmanager
def lock(path: Path, cancelled: threading.Event) -> Iterator[None]:
    """Let one process at a time make this path."""
    path.parent.mkdir(exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as handle:
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if cancelled.wait(0.1):
                raise CancelledError
        yield


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Make a folder beside its place, and move it there when it is complete."""
    new = path.with_name(f"{path.name}.new")
    remove(new)
    try:
        yield new
        remove(path)
        new.rename(path)
    finally:
        remove(new)


def remove(folder: Path) -> None:
    for _ in range(50):  # a process that is being killed may still write
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)
    raise ServerError(f"{folder} cannot be removed.")


def make_home(home: Path) -> Path:
    home.mkdir()
    home.chmod(0o755)
    (home / "password").write_text(f"{USER}\n")
    (home / "users.sql").write_text(USERS)
    for path in (home, home / "password", home / "users.sql"):
        if user := nobody():
            os.chown(path, user["user"], user["group"])
    return home


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-40:])


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ignore Ctrl-C and SIGTERM, so that a second one does not interrupt the stopping."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in ENDINGS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    guard(Path(sys.argv[1]))
