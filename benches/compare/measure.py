"""Runs one process and says what it took; medians with their spread; how busy the machine is with other work."""

import json
import os
import statistics
import tempfile
import threading
import time


class Failed(Exception):
    """A process that was to be measured did not do its work."""


def busy_seconds():
    """Processor seconds that the whole machine has spent so far, idle time left out."""
    with open("/proc/stat") as file:
        spent = [int(n) for n in file.readline().split()[1:9]]
    return (sum(spent) - spent[3] - spent[4]) / os.sysconf("SC_CLK_TCK")


def busy_share(seconds=1.0):
    """The share of the machine that is taken right now."""
    before = busy_seconds()
    time.sleep(seconds)
    return (busy_seconds() - before) / seconds / os.cpu_count()


def run(command, timeout=3600, env=None, cwd=None):
    """Runs `command` and returns its wall and processor time, peak memory and the JSON object it printed last.

    Memory and times are the kernel's own account of that one process (`wait4`). `foreign` is the share of the machine
    that other processes took meanwhile.
    """
    command = [str(part) for part in command]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        actions = [(os.POSIX_SPAWN_DUP2, out.fileno(), 1), (os.POSIX_SPAWN_DUP2, err.fileno(), 2)]
        environment = {**os.environ, **(env or {})}
        here = os.getcwd()
        if cwd:
            os.chdir(cwd)
        others, load, began = busy_seconds(), os.getloadavg()[0], time.perf_counter()
        try:
            pid = os.posix_spawnp(command[0], command, environment, file_actions=actions)
        except OSError as e:
            raise Failed(f"cannot start {command[0]}: {e.strerror}") from e
        finally:
            os.chdir(here)
        late = threading.Timer(timeout, os.kill, (pid, 9))
        late.start()
        try:
            _, status, usage = os.wait4(pid, 0)
        except BaseException:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            raise
        finally:
            late.cancel()
        wall = time.perf_counter() - began
        cpu = usage.ru_utime + usage.ru_stime
        foreign = max(0.0, busy_seconds() - others - cpu) / wall / os.cpu_count()
        out.seek(0)
        err.seek(0)
        said, complaints = out.read().decode(errors="replace"), err.read().decode(errors="replace")
    if status != 0:
        code = os.waitstatus_to_exitcode(status)
        raise Failed(f"exit code {code} after {wall:.1f} s: {' '.join(command)}\n{(said + complaints)[-2000:]}")
    return dict(wall_s=wall, cpu_s=cpu, peak_mb=usage.ru_maxrss / 1000 * 1.024, foreign=foreign, load=load,
                value=_last_object(said))


def _last_object(text):
    """The last JSON object that was printed, on one line or on many."""
    text = text.strip()
    for candidate in (text, text.splitlines()[-1] if text else ""):
        try:
            value = json.loads(candidate)
        except ValueError:
            continue
        if isinstance(value, dict):
            return value
    return {}


def summary(values):
    """Median, least and greatest."""
    return dict(median=statistics.median(values), least=min(values), most=max(values), n=len(values))
