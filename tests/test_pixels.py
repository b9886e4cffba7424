import torch

from geoseg.pixels import cluster_areas


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
