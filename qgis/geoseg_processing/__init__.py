"""QGIS plugin: geoseg's commands as algorithms of the Processing toolbox.

QGIS's Python has no torch: the algorithms run the program ``geoseg``, wherever it is
installed. Python 3.7 and QGIS 3.16 are enough; nothing else is needed.
"""


def classFactory(iface):  # QGIS looks for this name
    """Return the plugin; QGIS calls it with its interface."""
    from .plugin import GeosegPlugin

    return GeosegPlugin()
