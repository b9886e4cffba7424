"""Find the program geoseg and run it, with progress and Cancel in QGIS."""

import json
import os
import queue
import shlex
import shutil
import subprocess
import threading
import time
from typing import NamedTuple

from processing.core.ProcessingConfig import ProcessingConfig
from qgis.core import QgsProcessingException

NAME = "geoseg"
#: Name of the provider's setting that holds the program's path.
SETTING = "GEOSEG_PROGRAM"
WHERE_TO_SET = "Settings ▸ Options ▸ Processing ▸ Providers ▸ geoseg"

#: Seconds between two looks at whether the user wants an end.
TICK = 0.1
#: After this many seconds a program that was asked to stop is asked again, then killed.
#: A training ends its current step first and names its clusters.
GRACE_SECONDS = 300.0
#: How long a finished program's last words may take.
LAST_WORDS_SECONDS = 2.0

#: QGIS sets these for its own Python, GDAL and PROJ; those of geoseg are others.
NOT_INHERITED = ("GDAL_DATA", "GDAL_DRIVER_PATH", "PROJ_DATA", "PROJ_LIB")


class Finished(NamedTuple):
    """How a run of the program ended.

    Attributes:
        output: What it wrote to standard output.
        stopped: Whether it ended before it was done, as the user wished.
    """

    output: str
    stopped: bool


def find_program():
    """Return the path of the program: that of the setting, else the one on PATH.

    Raises:
        QgsProcessingException: If there is none; says where to set it.
    """
    chosen = ProcessingConfig.getSetting(SETTING)
    if chosen:
        path = shutil.which(os.path.expanduser(chosen))
        if path is None:
            raise QgsProcessingException(
                "{} is not a program that can be run: set the path of geoseg under "
                "{}".format(chosen, WHERE_TO_SET)
            )
        return path
    path = shutil.which(NAME)
    if path is None:
        raise QgsProcessingException(
            "the program geoseg is not on PATH: install it (docs/qgis.md says how), "
            "then set its path under " + WHERE_TO_SET
        )
    return path


def run(arguments, feedback):
    """Run geoseg; show its progress and its words; stop it when the user cancels.

    Args:
        arguments: Of the command line.
        feedback: ``QgsProcessingFeedback`` to tell.

    Returns:
        ``Finished``.

    Raises:
        QgsProcessingException: If there is no such program, or with the program's own
            message if it fails.
    """
    command = [find_program()] + [str(argument) for argument in arguments]
    feedback.pushCommandInfo(" ".join(shlex.quote(word) for word in command))
    process = _start(command)
    told = _Told(feedback)
    stop = _Stop(process)
    try:
        for line in _lines(process):
            if line is not None:
                told.hear(*line)
            if feedback.isCanceled():
                stop.ask()
    except BaseException:
        process.kill()
        raise
    finally:
        code = process.wait()
    if code and not stop.asked:
        raise QgsProcessingException(told.error(code))
    return Finished("\n".join(told.output), stopped=bool(code))


def _start(command):
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env=_environment(),
            # else a black window opens; elsewhere there is no such flag
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except OSError as error:
        raise QgsProcessingException(
            "{} does not run ({}): set the path of geoseg under {}".format(
                command[0], error.strerror, WHERE_TO_SET
            )
        )


def _environment():
    """Return QGIS's environment without the variables that are for QGIS alone."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON") and name not in NOT_INHERITED
    }
    kept["GEOSEG_PROGRESS"] = "lines"
    kept["PYTHONUTF8"] = "1"  # Windows would write the letters of its region
    return kept


def _lines(process):
    """Yield ``(from_stdout, line)`` as they come, and None when nothing does."""
    coming = queue.Queue()

    def pump(stream, from_stdout):
        with stream:
            for line in stream:
                coming.put((from_stdout, line.rstrip("\r\n")))
        coming.put(None)

    for stream, from_stdout in ((process.stdout, True), (process.stderr, False)):
        threading.Thread(target=pump, args=(stream, from_stdout), daemon=True).start()
    streams, ended = 2, None
    while streams:
        try:
            line = coming.get(timeout=TICK)
        except queue.Empty:
            yield None
            # a child that outlives the program may hold its pipes
            if process.poll() is not None:
                ended = ended or time.monotonic()
                if time.monotonic() - ended > LAST_WORDS_SECONDS:
                    return
            continue
        if line is None:
            streams -= 1
        else:
            yield line


class _Stop:
    """Ends a program, gently at first.

    SIGTERM unwinds geoseg like Ctrl-C: what it writes lies aside and goes away. Not
    SIGINT: who starts QGIS in the background of a shell has its children ignore that.
    """

    def __init__(self, process):
        self.process = process
        self.asked = 0
        self.since = 0.0

    def ask(self):
        now = time.monotonic()
        if self.asked and now - self.since < GRACE_SECONDS:
            return
        if self.asked < 2:
            self.process.terminate()
        else:
            self.process.kill()
        self.asked += 1
        self.since = now


class _Told:
    """Forwards the program's output to QGIS.

    Attributes:
        output: Lines of its standard output so far.
    """

    def __init__(self, feedback):
        self.feedback = feedback
        self.output = []
        self.last_words = ""
        self.stage = None
        self.tenth = 0

    def hear(self, from_stdout, line):
        """Pass on a line."""
        if from_stdout:
            self.output.append(line)
            self.feedback.pushConsoleInfo(line)
        elif line.startswith('{"progress"'):
            self._advance(json.loads(line))
        elif line:
            self.last_words = line
            if not line.startswith("Error: "):  # that becomes an exception
                self.feedback.pushInfo(line)

    def error(self, code):
        """Return why the program failed."""
        said = self.last_words or "geoseg ended with status {}".format(code)
        return said[len("Error: ") :] if said.startswith("Error: ") else said

    def _advance(self, bar):
        """Move QGIS's bar; name each stage once, its numbers at each tenth."""
        share = bar["done"] / bar["total"] if bar["total"] else 0.0
        if bar["progress"] != self.stage:
            self.stage, self.tenth = bar["progress"], 0
            self.feedback.setProgressText(self.stage)
        self.feedback.setProgress(100 * share)
        tenth = int(10 * share)
        if bar.get("note") and tenth > self.tenth:
            self.tenth = tenth
            self.feedback.pushInfo(
                "{} {} of {}: {}".format(
                    bar["unit"], bar["done"], bar["total"], bar["note"]
                )
            )
