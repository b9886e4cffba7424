import torch

from geoseg.methods.pixels import cluster_areas, draw_pixels, sample_pixels


def test_areas_count_the_most_probable_cluster_of_valid_pixels():
    ids = torch.tensor([[[0, 2, 2, 1]]])
    probabilities = 0.7 * torch.nn.functional.one_hot(ids, 4).movedim(3, 1) + 0.075
    valid = torch.tensor([[[True, True, True, False]]])
    expected = torch.tensor([1 / 3, 0, 2 / 3, 0])
    torch.testing.assert_close(cluster_areas(probabilities, valid), expected)


def test_without_a_valid_pixel_all_areas_are_zero():
    probabilities = torch.full((1, 3, 2, 2), 1 / 3)
    areas = cluster_areas(probabilities, torch.zeros((1, 2, 2), dtype=torch.bool))
    assert areas.tolist() == [0, 0, 0]


def test_drawn_pixels_do_not_depend_on_how_the_maps_are_cut_and_keep_their_labels():
    rows = torch.arange(1000.0).unsqueeze(1)
    labels = torch.arange(1000) % 7
    whole, own = draw_pixels([(rows, labels)], 50, seed=3)
    parts = zip(rows.split(130), labels.split(130), strict=True)
    found, same = draw_pixels(parts, 50, seed=3)
    assert torch.equal(whole, found) and torch.equal(own, same)
    assert torch.equal(whole[:, 0].long() % 7, own)
    assert len(whole.unique()) == 50
    # Evenly: the mean of 50 of 0 to 999 is off by 500 / sqrt(150) = 41, one sigma.
    assert abs(float(whole.mean()) - 499.5) < 120


def test_fewer_pixels_than_asked_for_are_all_drawn():
    rows, labels = torch.rand(20, 3), torch.zeros(20, dtype=torch.long)
    found, _ = draw_pixels([(rows, labels)], 50, seed=0)
    assert sorted(found.tolist()) == sorted(rows.tolist())


def test_a_sample_has_pixels_of_all_columns_in_the_order_of_the_maps():
    # Columns as features: a thinning by strides would see the first column alone.
    columns = torch.arange(64.0).expand(1, 1, 64, 64)
    maps = [(columns + 100 * n, torch.ones((1, 64, 64)).bool()) for n in range(20)]
    found = sample_pixels(maps, 1000)[:, 0]
    assert len(found) == 1000
    assert torch.equal(found // 100, (found // 100).sort().values)
    counts = (found % 100).long().bincount(minlength=64)
    assert counts.min() > 0 and counts.max() < 40  # 15.6 expected


def test_a_sample_of_few_pixels_is_all_valid_ones_in_order():
    features = torch.arange(12.0).view(1, 1, 3, 4)
    valid = features[:, 0] % 5 != 0
    found = sample_pixels([(features, valid)], 100)
    assert found[:, 0].tolist() == [n for n in range(12) if n % 5]
