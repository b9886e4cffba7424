"""The raster of clusters beside a map."""

import numpy as np
import rasterio

from geoseg.geo.formats.class_rasters import RasterTags, class_raster
from geoseg.geo.maps.mapping import map_buildings
from geoseg.geo.maps.options import MapOptions
from geoseg.geo.predict.head_views import ClusterView
from geoseg.geo.predict.predictor import predict_strips
from geoseg.geo.rasters.legend import cluster_legend
from geoseg.geo.rasters.raster import describe
from geoseg.geo.rasters.strips import classify
from geoseg.methods import build_method
from geoseg.model.file import Model
from geoseg.model.matching import match_clusters


def test_clusters_come_of_the_pass_that_maps_and_change_no_byte_of_the_map(
    write_tiff, bright_model, tmp_path
):
    method = build_method("iic", 3, {"width": 2, "over_clusters": 5}, seed=1)
    card = bright_model().card
    model = Model(method.eval(), card).with_card(
        method="iic",
        head="over",
        matchings={"over": match_clusters(np.array([[[9, 0], [0, 9]] * 2 + [[5, 4]]]))},
    )
    noise = np.random.default_rng(0).integers(100, 900, (3, 150, 130)).astype(np.uint16)
    image, passes = write_tiff("a.tif", noise), []
    method.trunk.register_forward_hook(lambda *_: passes.append(1))
    written = {}
    for name in ("without", "with"):
        folder = tmp_path / name
        folder.mkdir()
        map_buildings(
            model,
            [image],
            folder / "b.geojson",
            classes=folder / "c.tif",
            probability=folder / "p.tif",
            clusters=folder / "k.tif" if name == "with" else None,
            options=MapOptions(window=64, overlap=16, batch_size=2),
        )
        written[name] = {path.name: path.read_bytes() for path in folder.iterdir()}
        passes.append(0)
    assert passes == passes[: len(passes) // 2] * 2
    clusters = written["with"]["k.tif"]
    own = {name: raw for name, raw in written["with"].items() if name[0] != "k"}
    assert own == written["without"] and len(own) > 3
    # the clusters alone, in a pass of their own
    view = ClusterView(model, "over")
    legend, alone = cluster_legend(5), tmp_path / "alone.tif"
    with class_raster(
        alone, describe(image), legend=legend, tags=RasterTags(), overwrite=False
    ) as write:
        for strip in predict_strips(
            view, describe(image), window=64, overlap=16, batch_size=2
        ):
            write(classify(strip))
    assert clusters == alone.read_bytes()
    with rasterio.open(alone) as dataset:
        assert len(np.unique(dataset.read())) > 1
