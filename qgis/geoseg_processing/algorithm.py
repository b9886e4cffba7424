"""Base class of geoseg's algorithms."""

import os
import shlex

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterString,
)
from qgis.PyQt.QtGui import QIcon

from . import program

ICON = os.path.join(os.path.dirname(__file__), "icon.svg")


def icon():
    """Return the icon of the plugin."""
    return QIcon(ICON)


class GeosegAlgorithm(QgsProcessingAlgorithm):
    """Runs one command of geoseg.

    A child says what it is by class attributes, adds its parameters in
    ``initAlgorithm`` and runs the command in ``processAlgorithm``.

    Attributes:
        COMMAND: Of geoseg; also the algorithm's name.
        TITLE: In the toolbox.
        HELP: Beside the dialog; plain text.
        TAGS: Other words that find it.
    """

    COMMAND = ""
    TITLE = ""
    HELP = ""
    TAGS = ()

    def createInstance(self):
        return type(self)()

    def name(self):
        return self.COMMAND

    def displayName(self):
        return self.TITLE

    def shortHelpString(self):
        return self.HELP

    def tags(self):
        return [program.NAME, "buildings", *self.TAGS]

    def icon(self):
        return icon()

    def canExecute(self):
        try:
            program.find_program()
        except QgsProcessingException as error:
            return False, str(error)
        return True, ""

    def problem(self, parameters, context):
        """Say what is wrong with the parameters together; None if nothing is."""
        return None

    def checkParameterValues(self, parameters, context):
        problem = self.problem(parameters, context)
        if problem:
            return False, problem
        return super().checkParameterValues(parameters, context)

    def add(self, parameter, *, advanced=False, help=""):
        """Add a parameter, or an output that the user may choose.

        Args:
            parameter: Of any kind.
            advanced: Show it when asked for alone.
            help: What hovering over it tells; QGIS 3.16 and later.
        """
        if advanced:
            flag = QgsProcessingParameterDefinition.FlagAdvanced
            parameter.setFlags(parameter.flags() | flag)
        if help:
            parameter.setHelp(help)
        self.addParameter(parameter)

    def add_extra(self):
        """Add the parameter for whatever has none of its own."""
        self.add(
            QgsProcessingParameterString(
                "EXTRA",
                "Further options of geoseg {}".format(self.COMMAND),
                optional=True,
            ),
            advanced=True,
            help="As on the command line; geoseg {} --help lists them.".format(
                self.COMMAND
            ),
        )

    def extra(self, parameters, context):
        """Return the further options as words."""
        return split_words(self.parameterAsString(parameters, "EXTRA", context))

    def option(self, flag, parameters, name, context):
        """Return the words of an option, none where its parameter has no value."""
        if parameters.get(name) in (None, ""):
            return []
        value = self.parameterAsString(parameters, name, context).strip()
        return [flag, value] if value else []

    def run_geoseg(self, arguments, feedback):
        """Run the command; return its standard output.

        Raises:
            QgsProcessingException: If it fails, or the user stopped it.
        """
        finished = program.run([self.COMMAND, *arguments], feedback)
        if finished.stopped:
            raise QgsProcessingException("geoseg {} was stopped".format(self.COMMAND))
        return finished.output


def split_words(text):
    """Split a command line into words; backslashes are part of Windows's paths.

    Args:
        text: Words, with quotes around those that hold spaces.

    Raises:
        QgsProcessingException: If a quote is not closed.
    """
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace_split = True
    lexer.commenters = lexer.escape = ""
    try:
        return list(lexer)
    except ValueError:
        raise QgsProcessingException(
            "{!r} has a quote that is not closed: close it".format(text)
        )
