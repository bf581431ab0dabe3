"""Flushing a file while the event loop goes on.

Linux does it by itself (`io_submit`) and tells the loop through an event descriptor. Elsewhere a thread does it, which has to
get the interpreter back before it can say so: under load that takes longer than the flush.
"""

import asyncio
import ctypes
import errno
import os
import platform
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ctypes import c_int16, c_int32, c_int64, c_long, c_uint16, c_uint32, c_uint64
from typing import Any, Final

Done = Callable[[OSError | None], None]
"""Is called on the event loop when a file is flushed, or with the reason why it is not. It does not raise."""

_CALLS: Final = {"x86_64": (206, 207, 209, 208), "aarch64": (0, 1, 2, 4)}
"""The numbers of `io_setup`, `io_destroy`, `io_submit` and `io_getevents`, by machine."""
_FDSYNC: Final = 3  # linux/aio_abi.h: IOCB_CMD_FDSYNC
_TELL: Final = 1  # IOCB_FLAG_RESFD


class _Order(ctypes.Structure):
    """`struct iocb` of a little-endian machine."""

    _fields_ = (
        ("data", c_uint64),
        ("key", c_uint32),
        ("rw_flags", c_int32),
        ("operation", c_uint16),
        ("priority", c_int16),
        ("file", c_uint32),
        ("buffer", c_uint64),
        ("size", c_uint64),
        ("offset", c_int64),
        ("reserved", c_uint64),
        ("flags", c_uint32),
        ("told", c_uint32),
    )


class _Event(ctypes.Structure):
    """`struct io_event`."""

    _fields_ = (("data", c_uint64), ("order", c_uint64), ("result", c_int64), ("more", c_int64))


class Flusher:
    """Flushes files, one at a time. To be used and closed on one event loop."""

    def __init__(self) -> None:
        self._kernel: _Kernel | None = None
        self._thread: ThreadPoolExecutor | None = None

    def flush(self, descriptor: int, done: Done) -> None:
        """Begin to flush the data of an open file; `done` is told later."""
        if self._thread is None:
            try:
                self._kernel = self._kernel or _Kernel()
                self._kernel.flush(descriptor, done)
                return
            except OSError:
                # Not here, or not this kind of file; if it is at fault itself, the thread will say so.
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="penstock-flush")
        loop = asyncio.get_running_loop()
        loop.run_in_executor(self._thread, _flush, descriptor).add_done_callback(
            lambda flushed: done(flushed.result())
        )

    def close(self) -> None:
        """Give back what flushing needs. No flush may be under way."""
        if self._kernel is not None:
            self._kernel.close()
        if self._thread is not None:
            self._thread.shutdown(wait=True)


def _flush(descriptor: int) -> OSError | None:
    try:
        os.fdatasync(descriptor)
    except OSError as error:
        return error
    return None


class _Kernel:
    """A context of Linux's asynchronous I/O."""

    def __init__(self) -> None:
        """Raises `OSError` where there is no such thing, and where a sandbox forbids it or its places are taken."""
        if sys.platform != "linux" or platform.machine() not in _CALLS or sys.maxsize < 2**32:
            raise _error(errno.ENOSYS)
        # These calls return at once, so the interpreter is not handed over for them.
        self._libc: Any = ctypes.PyDLL(None, use_errno=True)
        self._libc.syscall.restype = c_long
        setup, self._destroy, self._submit, self._get = map(c_long, _CALLS[platform.machine()])
        self._context = c_uint64()
        self._call(setup, c_long(1), ctypes.byref(self._context))
        self._told = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._event = _Event()
        self._order = _Order(operation=_FDSYNC, flags=_TELL, told=self._told)
        self._orders = ctypes.pointer(self._order)
        self._done: Done | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._told, self._on_told)

    def _call(self, number: c_long, *arguments: Any) -> int:
        result: int = self._libc.syscall(number, *arguments)
        if result < 0:
            raise _error(ctypes.get_errno())
        return result

    def flush(self, descriptor: int, done: Done) -> None:
        """Begin to flush a file. Raises `OSError` if that is refused."""
        self._order.file = descriptor
        self._call(self._submit, self._context, c_long(1), ctypes.byref(self._orders))
        self._done = done

    def _on_told(self) -> None:
        os.eventfd_read(self._told)
        event, done = self._event, self._done
        found = self._call(
            self._get, self._context, c_long(0), c_long(1), ctypes.byref(event), None
        )
        if found and done is not None:
            self._done = None
            done(_error(-event.result) if event.result < 0 else None)

    def close(self) -> None:
        self._loop.remove_reader(self._told)
        os.close(self._told)
        self._call(self._destroy, self._context)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
