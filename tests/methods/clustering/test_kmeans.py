"""k-means: blobs, streaming, empty clusters, determinism."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg.core.errors import ParameterError, ShapeError, TrainingError
from geoseg.methods.clustering import kmeans as clustering
from geoseg.methods.clustering.kmeans import MiniBatchKMeans, kmeans, refine
from geoseg.methods.clustering.nearest import assign

CENTRES = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])


def blobs(n: int = 50, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Four round blobs, mixed: features (4 n, 2) and their blob (4 n,)."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.arange(4).repeat(n)
    features = CENTRES[ids] + 0.5 * torch.randn(4 * n, 2, generator=generator)
    return features, ids


def noise(n: int = 500, d: int = 3) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("seed", range(5))
def test_separated_blobs_are_recovered(seed):
    features, ids = blobs()
    result = kmeans(lambda: [features], 4, seed=seed)
    found = assign(features, result.centroids)
    # One cluster per blob and one blob per cluster.
    assert len(set(zip(found.tolist(), ids.tolist(), strict=True))) == 4
    means = torch.stack([features[ids == i].mean(0) for i in range(4)])
    order = assign(means, result.centroids)
    torch.testing.assert_close(result.centroids[order], means)
    assert result.counts.tolist() == [50] * 4


def test_inertia_is_the_sum_of_squared_distances():
    features, ids = blobs()
    result = kmeans(lambda: [features], 4, seed=0)
    means = torch.stack([features[ids == i].mean(0) for i in range(4)])
    expected = (features - means[ids]).square().sum().item()
    assert result.inertia == pytest.approx(expected, rel=1e-5)


def test_more_iterations_never_raise_the_inertia():
    features = noise()
    inertias = [
        kmeans(lambda: [features], 8, seed=0, iterations=i).inertia for i in range(12)
    ]
    pairs = zip(inertias, inertias[1:], strict=False)
    assert all(after <= before * (1 + 1e-6) for before, after in pairs)
    assert inertias[-1] < inertias[0]


@pytest.mark.parametrize("cuts", [[500], [1, 499], [100, 300, 100], [7] * 71 + [3]])
def test_many_blocks_give_what_one_block_gives(cuts, monkeypatch):
    monkeypatch.setattr(clustering, "_SAMPLE", 64)  # so that the start does sample
    features = noise()
    one = kmeans(lambda: [features], 6, seed=0)
    many = kmeans(lambda: features.split(cuts), 6, seed=0)
    torch.testing.assert_close(many.centroids, one.centroids)
    assert many.counts.equal(one.counts)


def test_the_same_seed_gives_the_same_centroids():
    features = noise()
    one = kmeans(lambda: [features], 6, seed=3)
    other = kmeans(lambda: [features], 6, seed=3)
    assert one.centroids.equal(other.centroids)


def test_torch_s_random_state_is_left_alone():
    before = torch.get_rng_state()
    kmeans(lambda: [noise()], 3, seed=0)
    assert torch.get_rng_state().equal(before)


def test_an_empty_cluster_moves_to_the_farthest_feature():
    features = torch.tensor([[0.0], [1.0], [9.0]])
    centroids = torch.tensor([[0.0], [100.0]])
    moved = refine(lambda: [features], centroids, iterations=1).centroids
    torch.testing.assert_close(moved, torch.tensor([[10 / 3], [9.0]]))


def test_identical_features_make_one_cluster_and_leave_the_others_empty():
    features = torch.full((20, 3), 0.7)
    result = kmeans(lambda: [features], 4, seed=0)
    assert result.inertia == 0
    assert sorted(result.counts.tolist()) == [0, 0, 0, 20]
    assert result.centroids.equal(torch.full((4, 3), 0.7))


def test_fewer_features_than_clusters_are_each_met_exactly():
    features = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    result = kmeans(lambda: [features], 5, seed=0)
    assert result.inertia == 0
    assert result.counts.sum() == 2


@pytest.mark.parametrize("seed", range(3))
def test_the_middles_of_gaussian_blobs_on_the_sphere_are_recovered(seed):
    n, d, spread = 400, 6, 0.1
    generator = torch.Generator().manual_seed(seed)
    middles = torch.cat([torch.eye(d), -torch.eye(d)])  # at least 90° apart
    ids = torch.arange(len(middles)).repeat(n)
    noise = spread * torch.randn(len(ids), d, generator=generator)
    directions = F.normalize(middles[ids] + noise, dim=1)
    blocks = directions.split(999)
    result = kmeans(lambda: blocks, len(middles), seed=seed)
    found_directions = F.normalize(result.centroids, dim=1)
    cosines = middles @ found_directions.t()
    order = cosines.argmax(dim=1)
    assert order.unique().numel() == len(middles)
    # The mean of n directions errs by a standard deviation of spread / √n along each of
    # d - 1 axes: four times as much leaves 1 - cos below half of its square.
    error = 4 * spread * ((d - 1) / n) ** 0.5
    assert float(cosines.amax(dim=1).min()) > 1 - error**2 / 2
    # But for rounding, the direction of the sum of each blob's directions.
    sums = torch.stack([directions[ids == i].sum(0) for i in range(len(middles))])
    found = assign(directions, result.centroids)
    assert found.equal(order[ids])
    torch.testing.assert_close(found_directions[order], F.normalize(sums, dim=1))


def test_a_large_common_offset_does_not_blur_the_assignment():
    features, ids = blobs()
    far = features + 30000
    result = kmeans(lambda: [far], 4, seed=0)
    found = assign(far, result.centroids)
    assert len(set(zip(found.tolist(), ids.tolist(), strict=True))) == 4


def test_assignment_is_the_nearest_centroid():
    features, centroids = noise(200, 5).double(), noise(7, 5).double()
    expected = torch.cdist(features, centroids).argmin(1)
    assert assign(features, centroids).equal(expected)


def test_features_of_other_float_types_are_clustered_as_float32():
    features = noise().double()
    result = kmeans(lambda: [features], 3, seed=0)
    assert result.centroids.dtype == torch.float32
    single = kmeans(lambda: [features.float()], 3, seed=0)
    assert result.centroids.equal(single.centroids)


@pytest.mark.parametrize("shape", [(20,), (20, 3, 1)])
def test_blocks_that_are_no_tables_are_refused(shape):
    with pytest.raises(ShapeError, match="features have shape"):
        kmeans(lambda: [torch.zeros(shape)], 2, seed=0)
    stream = MiniBatchKMeans(2, seed=0, start_blocks=1)
    stream.feed(noise())
    with pytest.raises(ShapeError, match="features have shape"):
        stream.feed(torch.zeros(shape))


def test_autocast_does_not_round_the_assignment():
    features, centroids = noise(2000, 5), noise(50, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = (features @ centroids.t()).dtype
        ids = assign(features, centroids)
    assert rounded == torch.bfloat16
    assert ids.equal(torch.cdist(features.double(), centroids.double()).argmin(1))


def test_no_features_are_refused():
    with pytest.raises(TrainingError, match="no features to cluster"):
        kmeans(lambda: [], 3, seed=0)
    with pytest.raises(TrainingError, match="no features to cluster"):
        kmeans(lambda: [torch.empty(0, 4)], 3, seed=0)


def test_features_that_are_not_numbers_are_refused():
    with pytest.raises(TrainingError, match="not finite"):
        kmeans(lambda: [torch.tensor([[float("nan")]])], 1, seed=0)


def test_no_clusters_are_refused():
    with pytest.raises(ParameterError, match="k is 0"):
        kmeans(lambda: [noise()], 0, seed=0)


def test_centroids_of_other_channels_are_refused():
    with pytest.raises(ShapeError, match="3 channels, but the centroids have 4"):
        assign(noise(5, 3), noise(2, 4))


def streamed(blocks, k, **options):
    clustering_ = MiniBatchKMeans(k, seed=0, **options)
    for block in blocks:
        clustering_.feed(block)
    return clustering_.result()


def test_running_means_equal_full_means_where_assignments_do_not_change():
    generator = torch.Generator().manual_seed(0)
    corners = torch.tensor([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]])
    ids = torch.arange(3).repeat(200)
    features = corners[ids] + torch.randn(600, 2, generator=generator)
    result = streamed(features.split(60), 3, start_blocks=2)
    found = result.centroids[assign(corners, result.centroids)]
    means = torch.stack([features[ids == k].mean(0) for k in range(3)])
    torch.testing.assert_close(found, means)
    assert result.counts.tolist() == [200, 200, 200]


def test_a_running_mean_takes_its_share_of_each_block():
    blocks = [torch.tensor([[0.0], [10.0]]), torch.tensor([[1.0], [3.0]])]
    result = streamed(blocks, 2, start_blocks=1)
    # 0 stands for one feature and meets two whose mean is 2: 0 + 2/3 (2 - 0)
    torch.testing.assert_close(
        result.centroids.sort(dim=0).values, torch.tensor([[4 / 3], [10.0]])
    )
    assert sorted(result.counts.tolist()) == [1, 3]


def test_a_centroid_that_a_block_does_not_meet_stays():
    blocks = [torch.tensor([[0.0], [10.0]])] + [torch.tensor([[0.1]])] * 50
    result = streamed(blocks, 2, start_blocks=1)
    assert float(result.centroids.max()) == 10.0


def test_fewer_blocks_than_the_start_wants_are_enough():
    blocks = [torch.tensor([[0.0], [1.0], [9.0]])]
    few = streamed(blocks, 2)
    full = kmeans(lambda: blocks, 2, seed=0)
    assert torch.equal(few.centroids, full.centroids)


RANKS_SCRIPT = """
import sys
import torch, torch.distributed as dist
from geoseg.methods.clustering import kmeans as clustering
from geoseg.methods.clustering.kmeans import MiniBatchKMeans, kmeans
clustering._SAMPLE = 64
rank, where = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
dist.init_process_group(
    "gloo", init_method=f"file://{where}/meet", rank=rank, world_size=2
)
features = torch.load(f"{where}/features.pt")
mine = features.split([90, 110, 170, 30])[rank::2]
full = kmeans(lambda: mine, 4, seed=3)
streamed = MiniBatchKMeans(4, seed=3, start_blocks=1)
for block in mine:
    streamed.feed(block)
torch.save([*full, *streamed.result()], f"{where}/{rank}.pt")
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_ranks_find_the_centroids_that_one_finds_from_all(tmp_path, monkeypatch):
    monkeypatch.setattr(clustering, "_SAMPLE", 64)  # so that the start does sample
    generator = torch.Generator().manual_seed(0)
    corners = torch.tensor([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0], [50.0, 50.0]])
    ids = torch.arange(4).repeat(100)
    features = corners[ids] + torch.randn(400, 2, generator=generator)
    torch.save(features, tmp_path / "features.pt")
    command = [sys.executable, "-c", RANKS_SCRIPT]
    ranks = [
        subprocess.Popen([*command, str(rank), str(tmp_path)]) for rank in range(2)
    ]
    assert [rank.wait(timeout=120) for rank in ranks] == [0, 0]
    (full, counts, inertia, _, running, *_), other = (
        torch.load(tmp_path / f"{rank}.pt") for rank in range(2)
    )
    assert torch.equal(full, other[0]) and torch.equal(running, other[4])
    alone = kmeans(lambda: [features], 4, seed=3)
    torch.testing.assert_close(full, alone.centroids)  # in the order of one start
    torch.testing.assert_close(
        running[assign(alone.centroids, running)], alone.centroids
    )
    assert counts.tolist() == [100] * 4
    assert inertia == pytest.approx(alone.inertia)


def test_no_features_at_all_are_refused_by_the_stream_too():
    with pytest.raises(TrainingError, match="no features to cluster"):
        MiniBatchKMeans(2, seed=0).result()
    with pytest.raises(ParameterError, match="start_blocks 0, expected at least 1"):
        MiniBatchKMeans(2, seed=0, start_blocks=0)
