"""Use the plugin in QGIS as a user of its toolbox does; say what came of it.

Run by the Python that QGIS comes with. Reads a list of orders (JSON) from standard
input, carries them out one after another, writes a list of what happened:

    /usr/bin/python3 tests/qgis/toolbox.py qgis/ < orders.json

An order has ``algorithm`` and ``parameters``, the ``program`` that the setting names
(none: that on PATH), ``cancel`` if the user does so once the program shows progress,
``script`` to call ``processing.run`` instead of what the dialog does, and ``png`` with
``base`` to draw the layers that were loaded over an image.
"""

import json
import os
import sys
import tempfile
import time

from probe import describe, draw, open_layer
from qgis.core import (
    QgsApplication,
    QgsProcessingAlgRunnerTask,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputLayerDefinition,
    QgsProject,
)
from qgis.PyQt.QtCore import QEventLoop

PLUGINS = "/usr/share/qgis/python/plugins"
#: Kinds of outputs that the dialog loads.
LAYERS = ("vectorDestination", "rasterDestination")


class Listener(QgsProcessingFeedback):
    """Writes down what the user sees, and may press Cancel."""

    def __init__(self, cancel):
        super().__init__()
        self.seen = {"said": [], "stages": [], "errors": [], "progress": []}
        self.cancel_at = cancel
        self.cancelled_at = None
        self.progressChanged.connect(self._advance)

    def _advance(self, percent):
        self.seen["progress"].append(percent)
        if self.cancel_at is not None and percent >= self.cancel_at:
            self.cancelled_at = self.cancelled_at or time.monotonic()
            self.cancel()

    def setProgressText(self, text):
        self.seen["stages"].append(text)

    def pushInfo(self, text):
        self.seen["said"].append(text)

    pushConsoleInfo = pushCommandInfo = pushInfo

    def reportError(self, text, fatalError=False):
        self.seen["errors"].append(text)


def as_dialog(algorithm, parameters, listener):
    """Run in a background task, then load the results, as the dialog does."""
    from processing.gui.Postprocessing import handleAlgorithmResults

    context = QgsProcessingContext()
    context.setProject(QgsProject.instance())
    for definition in algorithm.destinationParameterDefinitions():
        name = definition.name()
        if definition.type() in LAYERS and name in parameters:
            parameters[name] = QgsProcessingOutputLayerDefinition(
                parameters[name], QgsProject.instance()
            )
    good, why = algorithm.checkParameterValues(parameters, context)
    if not good:
        raise QgsProcessingException(why)
    task = QgsProcessingAlgRunnerTask(algorithm, parameters, context, listener)
    ended, loop = [], QEventLoop()
    task.executed.connect(lambda *result: (ended.append(result), loop.quit()))
    QgsApplication.taskManager().addTask(task)
    loop.exec_()
    successful, results = ended[0]
    if not successful:
        raise QgsProcessingException("; ".join(listener.seen["errors"]))
    handleAlgorithmResults(algorithm, context, listener, parameters=parameters)
    return results


def carry_out(order):
    """Carry out an order; return what happened."""
    import processing
    from processing.core.ProcessingConfig import ProcessingConfig

    QgsProject.instance().clear()
    # not setSettingValue, which would keep it for the user's own QGIS
    setting = ProcessingConfig.settings["GEOSEG_PROGRAM"]
    setting.value = order.get("program", "")
    registry = QgsApplication.processingRegistry()
    algorithm = registry.createAlgorithmById(order["algorithm"])
    listener = Listener(order.get("cancel"))
    happened = {"can_execute": algorithm.canExecute()}
    try:
        if order.get("script"):
            results = processing.run(
                order["algorithm"], order["parameters"], feedback=listener
            )
        else:
            results = as_dialog(algorithm, order["parameters"], listener)
        happened["results"] = results
    except QgsProcessingException as error:
        happened["error"] = str(error)
    if listener.cancelled_at:
        happened["seconds_to_stop"] = time.monotonic() - listener.cancelled_at
    layers = list(QgsProject.instance().mapLayers().values())
    happened["layers"] = {layer.name(): describe(layer) for layer in layers}
    if "png" in order:
        layers.sort(key=lambda layer: layer.type())  # vectors above rasters
        draw([*layers, open_layer(order["base"])], order["png"], 700, 1.0)
    return {**happened, **listener.seen}


def begin(folder):
    """Start QGIS with its Processing and the plugin in a folder."""
    application = QgsApplication([], False, tempfile.mkdtemp())
    application.initQgis()
    sys.path[:0] = [folder, PLUGINS]
    from processing.core.Processing import Processing

    Processing.initialize()
    import geoseg_processing

    plugin = geoseg_processing.classFactory(None)
    plugin.initGui()
    return application, plugin


def main():
    application, plugin = begin(sys.argv[1])
    registry = QgsApplication.processingRegistry()
    provider = registry.providerById("geoseg")
    described = {
        algorithm.name(): {
            definition.name(): definition.defaultValue()
            for definition in algorithm.parameterDefinitions()
        }
        for algorithm in provider.algorithms()
    }
    icon = provider.icon().isNull()
    happened = [carry_out(order) for order in json.load(sys.stdin)]
    plugin.unload()
    gone = registry.providerById("geoseg") is None
    print(
        json.dumps(
            {
                "algorithms": described,
                "icon": not icon,
                "unloaded": gone,
                "happened": happened,
            }
        )
    )
    sys.stdout.flush()
    # Not exitQgis: tearing down what Python still holds crashes.
    os._exit(0)


if __name__ == "__main__":
    main()
