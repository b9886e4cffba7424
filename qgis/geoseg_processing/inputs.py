"""Images and labels among the parameters, and the words that name them to geoseg."""

from qgis.core import (
    QgsProcessing,
    QgsProcessingException,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterFile,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
    QgsProcessingUtils,
)

#: Formats of labels that geoseg reads as they are; of others QGIS makes a GeoPackage.
LABEL_FORMATS = ["gpkg", "geojson", "json", "fgb", "shp"]


#: Where labels hold, in words and as geoseg's options.
LABELLED = [
    ("as their file says: everywhere, or in its layer labelled", []),
    ("in the tiles that they touch", ["--labelled-area", "touched"]),
    ("everywhere", ["--labelled-area", "all"]),
    ("nowhere else: they are sparse", ["--sparse"]),
]


def add_model(algorithm, *, optional=False):
    """Add the model, which may be a run's folder as well."""
    algorithm.add(
        QgsProcessingParameterFile(
            "MODEL",
            "Model",
            optional=optional,
            fileFilter="Models of geoseg (*.safetensors);;All files (*)",
        ),
        help="model.safetensors of a run, or the run's folder.",
    )


def add_tiles(algorithm):
    """Add the tiles: layers or a folder."""
    algorithm.add(
        QgsProcessingParameterMultipleLayers(
            "LAYERS", "Tiles: raster layers", QgsProcessing.TypeRaster, optional=True
        )
    )
    algorithm.add(
        QgsProcessingParameterFile(
            "FOLDER",
            "or a folder of GeoTIFF tiles",
            behavior=QgsProcessingParameterFile.Folder,
            optional=True,
        )
    )


def add_labels(algorithm, *, needed):
    """Add the labels: a vector layer, or a folder paired with the tiles by name.

    Points and lines are for sparse labels alone; geoseg refuses them otherwise.

    Args:
        algorithm: To which.
        needed: Whether the title says that there have to be some.
    """
    algorithm.add(
        QgsProcessingParameterFeatureSource(
            "LABELS",
            "Labels: polygon layer" + ("" if needed else " (some tiles suffice)"),
            [QgsProcessing.TypeVectorAnyGeometry],
            optional=True,
        )
    )
    algorithm.add(
        QgsProcessingParameterFile(
            "LABEL_FOLDER",
            "or a folder of labels, named as the tiles",
            behavior=QgsProcessingParameterFile.Folder,
            optional=True,
        )
    )
    algorithm.add(
        QgsProcessingParameterField(
            "CLASS_FIELD",
            "Field of the label's class",
            parentLayerParameterName="LABELS",
            optional=True,
        ),
        advanced=True,
    )
    algorithm.add(
        QgsProcessingParameterString("CLASSES", "Classes of the labels", optional=True),
        advanced=True,
        help="Background first, such as background,building,road or "
        "building=2,road=3,background=*; by default all labels are building.",
    )
    _add_area(algorithm)


def _add_area(algorithm):
    """Add what says where labels hold."""
    algorithm.add(
        QgsProcessingParameterEnum(
            "LABELLED",
            "Labels hold",
            [title for title, _ in LABELLED],
            defaultValue=0,
        ),
        help="Where they hold, ground without a label is background; elsewhere nothing "
        "is labelled. Sparse labels are points, lines and polygons with a class each, "
        "background among them.",
    )
    algorithm.add(
        QgsProcessingParameterFeatureSource(
            "LABELLED_AREA",
            "or in the polygons of a layer",
            [QgsProcessing.TypeVectorPolygon],
            optional=True,
        )
    )
    algorithm.add(
        QgsProcessingParameterNumber(
            "POINT_RADIUS",
            "Radius of sparse points in metres",
            QgsProcessingParameterNumber.Double,
            None,
            optional=True,
            minValue=0.01,
        ),
        advanced=True,
        help="And half the width of lines; by default 1.",
    )


def check_tiles(algorithm, parameters, *, labels_needed=True):
    """Say what is wrong with the choice of tiles and labels.

    Returns:
        A sentence, or None.
    """
    return _check_pair(algorithm, parameters, ("LAYERS", "FOLDER")) or _check_pair(
        algorithm, parameters, ("LABELS", "LABEL_FOLDER"), needed=labels_needed
    )


def _check_pair(algorithm, parameters, names, *, needed=True):
    """Say what is wrong unless one of two parameters has a value."""
    count = sum(parameters.get(name) not in (None, "", []) for name in names)
    if count == 1 or (count == 0 and not needed):
        return None
    titles = [
        algorithm.parameterDefinition(name).description().rstrip(".") for name in names
    ]
    return "{} of «{}» and «{}» given: give one".format(
        "both" if count else "neither", *titles
    )


def tiles_of(algorithm, parameters, context):
    """Return the words that name the tiles."""
    folder = algorithm.parameterAsString(parameters, "FOLDER", context)
    if folder:
        return ["--images", folder]
    paths = images_of(algorithm, parameters, "LAYERS", context)
    if len(paths) == 1:
        return ["--images", paths[0]]
    listed = QgsProcessingUtils.generateTempFilename("tiles.txt")
    with open(listed, "w", encoding="utf-8") as file:
        file.write("".join(path + "\n" for path in paths))
    return ["--images", listed]


def labels_of(algorithm, parameters, context, feedback):
    """Return the words that name the labels and their classes; none without labels."""
    words = []
    folder = algorithm.parameterAsString(parameters, "LABEL_FOLDER", context)
    if folder:
        words = ["--labels", folder]
    elif parameters.get("LABELS") not in (None, ""):
        path, layer = algorithm.parameterAsCompatibleSourceLayerPathAndLayerName(
            parameters, "LABELS", context, LABEL_FORMATS, "gpkg", feedback
        )
        words = ["--labels", path] + (["--label-layer", layer] if layer else [])
    for flag, name in (("--class-field", "CLASS_FIELD"), ("--classes", "CLASSES")):
        words += algorithm.option(flag, parameters, name, context)
    return words + (_area_of(algorithm, parameters, context, feedback) if words else [])


def _area_of(algorithm, parameters, context, feedback):
    """Return the words that say where labels hold."""
    _, option = LABELLED[algorithm.parameterAsEnum(parameters, "LABELLED", context)]
    words = list(option)
    if "--sparse" in words:
        words += algorithm.option("--point-radius", parameters, "POINT_RADIUS", context)
    if parameters.get("LABELLED_AREA") in (None, ""):
        return words
    # One layer of a file may be any of several: QGIS writes it alone.
    path = algorithm.parameterAsCompatibleSourceLayerPath(
        parameters, "LABELLED_AREA", context, ["geojson"], "gpkg", feedback
    )
    return [word for word in words if word == "--sparse"] + ["--labelled-area", path]


def images_of(algorithm, parameters, name, context):
    """Return the paths of raster layers.

    Raises:
        QgsProcessingException: If one cannot be opened or is no file for GDAL.
    """
    given = parameters[name]
    layers = algorithm.parameterAsLayerList(parameters, name, context)
    if isinstance(given, (list, tuple)) and len(layers) != len(given):
        raise QgsProcessingException(
            "{} of {} images open in QGIS: give raster layers or files".format(
                len(layers), len(given)
            )
        )
    return [path_of(layer) for layer in layers]


def path_of(layer):
    """Return the path that geoseg opens a raster layer by.

    Raises:
        QgsProcessingException: If it is no file, such as a web map.
    """
    if layer.providerType() != "gdal":
        raise QgsProcessingException(
            "layer {} comes from {}, expected an image that GDAL reads: export it as a "
            "GeoTIFF first".format(layer.name(), layer.providerType())
        )
    return layer.source().split("|")[0]  # QGIS puts options for GDAL behind it
