"""Confines a process that reads untrusted files: no sockets, no programs, no writing elsewhere.

A seccomp filter refuses the system calls that open sockets, start programs, change the owner, mode
or attributes of files, or touch other processes and the kernel. Landlock refuses to write, create
or remove a file outside the folders given. Reading stays allowed: libraries and clips lie anywhere,
and what is read cannot leave.

Written here over the two system calls, since no well-kept library serves: the bindings of Landlock
on the package index are in alpha or beta, months old, and cannot refuse UDP or programs; the one of
seccomp needs a shared library that slim containers lack. Sources: seccomp(2), landlock(7), the
kernel's syscall tables.
"""

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

#: The refused system calls: name, number on x86-64 and on AArch64; - where there is no such call.
#: io_uring opens sockets past this filter.
_REFUSED = """
    socket 41 198; socketpair 53 199; connect 42 203; bind 49 200; listen 50 201;
    io_uring_setup 425 425; execve 59 221; execveat 322 281; chmod 90 -; fchmod 91 52;
    fchmodat 268 53; fchmodat2 452 452; chown 92 -; fchown 93 55; lchown 94 -; fchownat 260 54;
    setxattr 188 5; lsetxattr 189 6; fsetxattr 190 7; setxattrat 463 463; removexattr 197 14;
    lremovexattr 198 15; fremovexattr 199 16; removexattrat 466 466; utime 132 -; utimes 235 -;
    futimesat 261 -; utimensat 280 88; ptrace 101 117; process_vm_writev 311 271;
    pidfd_getfd 438 438; mount 165 40; umount2 166 39; unshare 272 97; setns 308 268; bpf 321 280;
    perf_event_open 298 241; init_module 175 105; finit_module 313 273; delete_module 176 106;
    kexec_load 246 104; kexec_file_load 320 294; reboot 169 142; keyctl 250 219
"""
#: For each machine: its column above, its number in the audit interface, and that of seccomp(2).
_MACHINES = {"x86_64": (0, 0xC000003E, 317), "aarch64": (1, 0xC00000B7, 277)}
_X32 = 0x40000000
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
#: The first version of Landlock that also refuses to truncate files: Linux 6.2.
_MIN_LANDLOCK = 3

# What Landlock can refuse, by the version that introduced it (linux/landlock.h).
_EXECUTE, _WRITE_FILE, _REMOVE, _MAKE_DIR, _MAKE_FILE = 1 << 0, 1 << 1, 3 << 4, 1 << 7, 1 << 8
_MAKE_OTHERS, _REFER, _TRUNCATE, _IOCTL_DEVICE = 0b1111001 << 6, 1 << 13, 1 << 14, 1 << 15
_MAKE_OTHERS &= ~(_MAKE_DIR | _MAKE_FILE)
_WRITING = _WRITE_FILE | _REMOVE | _MAKE_DIR | _MAKE_FILE | _REFER | _TRUNCATE
_TCP, _SCOPES = 0b11, 0b11

_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000


def why_unconfined() -> str | None:
    """Why this system cannot confine a process; None if it can."""
    if sys.platform != "linux":
        return f"{platform.system()} has no seccomp and no Landlock"
    if platform.machine() not in _MACHINES:
        return f"the system calls of {platform.machine()} are not known here"
    number = _MACHINES[platform.machine()][2]
    action = ctypes.c_uint32(0x00050000)
    if _syscall(number, 2, 0, ctypes.byref(action)) < 0:  # SECCOMP_GET_ACTION_AVAIL
        return "the kernel, or the container, has no seccomp"
    found = _landlock_version()
    if found < _MIN_LANDLOCK:
        what = f"version {found}" if found > 0 else "none"
        return f"expected Landlock {_MIN_LANDLOCK} (Linux 6.2), found {what}"
    return None


def confine(write: Iterable[Path] = ()) -> None:
    """Confine this process, for good.

    Call it before other threads start: Landlock holds for the calling thread and those that it
    starts later, the filter for all.

    Args:
        write: existing folders below which files may be written, created and removed.

    Raises:
        OSError: the system refuses, or a folder does not exist; see `why_unconfined`.
    """
    if reason := why_unconfined():
        raise OSError(errno.ENOSYS, reason)
    _check(ctypes.CDLL(None, use_errno=True).prctl(38, 1, 0, 0, 0))  # PR_SET_NO_NEW_PRIVS
    _restrict_files(write)
    _install_filter(*_MACHINES[platform.machine()])


def _restrict_files(folders: Iterable[Path]) -> None:
    version = _landlock_version()
    handled = _WRITING | _EXECUTE | _MAKE_OTHERS | (_IOCTL_DEVICE if version >= 5 else 0)
    rules = struct.pack("=3Q", handled, _TCP, _SCOPES)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = _check(_syscall(_CREATE_RULESET, rules, size, 0))
    try:
        for folder in folders:
            descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                beneath = struct.pack("=Qi", _WRITING, descriptor)
                _check(_syscall(_ADD_RULE, ruleset, 1, beneath, 0))
            finally:
                os.close(descriptor)
        _check(_syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


def _install_filter(column: int, machine: int, number: int) -> None:
    """Install the filter in all threads: a program of the classic BPF, 8 bytes an instruction."""
    numbers = (call.split()[1 + column] for call in _REFUSED.split(";"))
    calls = [int(number) for number in numbers if number != "-"]
    program = [
        (0x20, 0, 0, 4),  # load the machine
        (0x15, 1, 0, machine),
        (0x06, 0, 0, _KILL),
        (0x20, 0, 0, 0),  # load the number of the call
        (0x35, len(calls) + 1, 0, _X32),  # calls of the x32 interface have others
        *((0x15, len(calls) - at, 0, call) for at, call in enumerate(calls)),
        (0x06, 0, 0, _ALLOW),
        (0x06, 0, 0, _REFUSE),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in program))
    described = struct.pack("@HP", len(program), ctypes.addressof(code))
    failed = _syscall(number, 1, 1, described)  # SECCOMP_SET_MODE_FILTER, with FLAG_TSYNC
    if failed > 0:  # the number of a thread that has another filter
        raise OSError(errno.EACCES, "another thread is confined otherwise")
    _check(failed)


def _landlock_version() -> int:
    return _syscall(_CREATE_RULESET, None, 0, 1)


def _syscall(number: int, *arguments: object) -> int:
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    sized = (ctypes.c_long(each) if isinstance(each, int) else each for each in arguments)
    return int(call(ctypes.c_long(number), *sized))


def _check(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
