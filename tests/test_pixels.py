import torch

from geoseg.pixels import cluster_areas, draw_pixels


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
