"""Counter-based random numbers."""

import numpy as np

from geoseg.geo.sample.hashing import Draws, mix, mix_grid, value_noise


def test_mix_of_one_zero_is_the_first_number_of_splitmix64():
    # the published first output of SplitMix64 seeded with 0
    assert mix(0) == 0xE220A8397B1DCDAF


def test_a_hashed_grid_equals_the_hash_of_each_cell():
    rows, cols = np.arange(-2, 3), np.array([-1, 0, 7])
    grid = mix_grid(11, rows, cols)
    for i, row in enumerate(rows):
        for j, col in enumerate(cols):
            assert int(grid[i, j]) == mix(11, int(row), int(col))


def test_noise_at_a_place_does_not_depend_on_the_window():
    whole = value_noise(5, np.arange(-20, 40), np.arange(-10, 50), cell=7)
    part = value_noise(5, np.arange(3, 20), np.arange(-1, 30), cell=7)
    assert np.array_equal(whole[23:40, 9:40], part)


def test_noise_meets_its_corners_and_stays_between_them():
    noise = value_noise(5, np.arange(9), np.arange(9), cell=8)
    corners = noise[::8, ::8]
    assert corners.min() <= noise.min() and noise.max() <= corners.max()
    lattice = mix_grid(5, np.arange(2), np.arange(2)) >> np.uint64(55)
    assert np.array_equal(corners, lattice.astype(np.int64) - 256)


def test_draws_repeat_with_their_keys_and_differ_between_keys():
    first, again, other = Draws(1, 2), Draws(1, 2), Draws(2, 1)
    numbers = [first.below(1000) for _ in range(20)]
    assert numbers == [again.below(1000) for _ in range(20)]
    assert numbers != [other.below(1000) for _ in range(20)]


def test_draws_stay_in_range_and_reach_both_ends():
    draws = Draws(3)
    assert {draws.between(-2, 2) for _ in range(200)} == {-2, -1, 0, 1, 2}


def test_a_chance_of_a_quarter_comes_true_a_quarter_of_the_time():
    draws = Draws(4)
    hits = sum(draws.chance(25) for _ in range(4000))
    # four standard deviations of the binomial
    assert abs(hits - 1000) < 4 * (4000 * 0.25 * 0.75) ** 0.5
