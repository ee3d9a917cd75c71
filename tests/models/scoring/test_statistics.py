"""Choosing by vectors made up so that the right choice is known: groups, strays, scenes and backgrounds."""

import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.scoring.clusters import find_cluster
from models.scoring.statistics import (
    DiverseChoice,
    central_members,
    choose_diverse,
    effective_size,
    explained_share,
    main_directions,
    mean_pairwise,
    outlier_cut,
    project_out,
    remove_effects,
)

SCORES = st.lists(st.floats(-1, 1), max_size=30)
SEEDS = st.integers(0, 2**32 - 1)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def random_units(count: int, dimension: int = 32, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(count, dimension))).astype(np.float32)


def group(numbers: np.random.Generator, size: int, spread: float, dimension: int) -> np.ndarray:
    """One identity: a direction, and pictures of it about `spread` away."""
    middle = unit(numbers.normal(size=dimension))
    return middle + spread * numbers.normal(size=(size, dimension)) / np.sqrt(dimension)


def crowd(
    seed: int, groups: list[tuple[int, float]], count: int = 48, dimension: int = 64
) -> tuple[np.ndarray, set[int]]:
    """Shuffled groups of (size, spread) and strays up to `count`, in a cone as CLIP's; and where the first group is."""
    numbers = np.random.default_rng(seed)
    parts = [group(numbers, size, spread, dimension) for size, spread in groups]
    strays = unit(numbers.normal(size=(count - sum(map(len, parts)), dimension)))
    vectors = unit(np.concatenate([*parts, strays]) + unit(np.ones(dimension))).astype(np.float32)
    shuffled = numbers.permutation(count)
    return vectors[shuffled], {int(place) for place in np.flatnonzero(shuffled < groups[0][0])}


# --- cut ----------------------------------------------------------------------------------------------------------


def test_the_cut_is_so_many_deviations_below_the_median() -> None:
    assert outlier_cut([1, 2, 3, 4, 5, 6, 7, 8, 9], spread=2, floor=-100) == pytest.approx(5 - 2 * 1.4826 * 2)


def test_a_wild_score_does_not_move_the_cut() -> None:
    assert outlier_cut([1, 2, 3, 4, 5], 2, -100) == outlier_cut([-1000, 2, 3, 4, 5], 2, -100)


@given(SCORES, st.floats(0, 5), st.floats(-1, 1))
def test_the_cut_is_never_below_the_floor(scores: list[float], spread: float, floor: float) -> None:
    assert outlier_cut(scores, spread, floor) >= floor


@given(SCORES, st.randoms(use_true_random=False))
def test_the_cut_does_not_depend_on_the_order_of_scores(scores: list[float], chance: object) -> None:
    shuffled = list(scores)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert outlier_cut(scores, 3, -10) == outlier_cut(shuffled, 3, -10)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_equal_scores_all_stay(count: int) -> None:
    assert 0.3 - 1e-4 < outlier_cut([0.3] * count, 3, -1) < 0.3


def test_where_most_scores_are_equal_the_cut_still_parts_strays_from_rounding() -> None:
    scores = [0.8] * 20 + [0.8 - 5e-7, 0.79, 0.2]
    kept = [score for score in scores if score >= outlier_cut(scores, 3, -1)]
    assert kept == [0.8] * 20 + [0.8 - 5e-7, 0.79]


def test_no_scores_leave_the_floor() -> None:
    assert outlier_cut([], 3, 0.2) == 0.2


# --- without ------------------------------------------------------------------------------------------------------


def test_nothing_is_left_along_the_nuisance_and_length_is_one() -> None:
    vectors, nuisance = random_units(20), 3 * random_units(5, seed=1)
    left = project_out(vectors, nuisance)
    np.testing.assert_allclose(left @ nuisance.T, 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(left, axis=1), 1)


def test_the_same_identity_before_two_backgrounds_is_the_same_without_them() -> None:
    identity, beach, forest = random_units(3)
    pictures = unit(np.stack([identity + beach, identity + forest]))
    one, other = project_out(pictures, np.stack([beach - forest]))
    assert pictures[0] @ pictures[1] < 0.7
    assert one @ other == pytest.approx(1)


def test_what_other_directions_do_not_touch_stays() -> None:
    vectors = np.eye(4)[[0, 1, 2]]
    np.testing.assert_allclose(project_out(vectors, np.eye(4)[[3]]), vectors)


@given(SEEDS)
@settings(max_examples=20)
def test_repeated_implied_and_rounded_directions_take_nothing_more_away(seed: int) -> None:
    vectors, nuisance = random_units(10, seed=seed), random_units(3, seed=seed + 1)
    implied = np.stack([nuisance[0], 2 * nuisance[1], nuisance[0] - nuisance[2]])
    rounded = implied * (1 + np.finfo(np.float32).eps * np.random.default_rng(seed).normal(size=implied.shape))
    more = np.concatenate([nuisance, rounded.astype(np.float32), np.zeros((1, 32), np.float32)])
    np.testing.assert_allclose(project_out(vectors, more), project_out(vectors, nuisance), atol=1e-4)


@pytest.mark.parametrize("nuisance", [np.zeros((0, 32)), np.zeros((2, 32))])
def test_no_nuisance_changes_nothing(nuisance: np.ndarray) -> None:
    np.testing.assert_allclose(project_out(random_units(5), nuisance), random_units(5), atol=1e-7)


def test_a_picture_of_nothing_but_nuisance_is_like_no_other() -> None:
    vectors = np.eye(3, dtype=np.float32)
    assert project_out(vectors, vectors[:1])[0].tolist() == [0, 0, 0]


# --- residual -----------------------------------------------------------------------------------------------------


def ridge_fit(vectors: np.ndarray, groups: list[list[str]], ridge: float) -> np.ndarray:
    """The same by numpy's least squares: a column of ones, a column per value, and `ridge` as rows of data."""
    columns = [[value == each for value in values] for values in groups for each in sorted(set(values))]
    design = np.column_stack([np.ones(len(vectors)), *np.asarray(columns, float)])
    penalty = np.sqrt(ridge) * np.eye(design.shape[1])[1:]
    nothing = np.zeros((len(penalty), vectors.shape[1]))
    fit = np.linalg.lstsq(np.concatenate([design, penalty]), np.concatenate([vectors, nothing]), rcond=None)[0]
    return unit(vectors - (design - design.mean(axis=0)) @ fit)


@pytest.mark.parametrize("ridge", [0.1, 1.0, 5.0])
def test_residuals_are_those_of_a_ridge_fit_with_a_free_mean(ridge: float) -> None:
    numbers = np.random.default_rng(0)
    scenes = [f"scene {n}" for n in numbers.integers(0, 6, 40)]
    framings = [f"framing {len(scene) + n}" for scene, n in zip(scenes, numbers.integers(0, 2, 40), strict=True)]
    vectors = random_units(40) + 0.3
    found = remove_effects(vectors, [scenes, framings], ridge)
    np.testing.assert_allclose(found, ridge_fit(vectors.astype(float), [scenes, framings], ridge), atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_identity_remains_when_scene_and_framing_are_taken_out(seed: int) -> None:
    numbers = np.random.default_rng(seed)
    who, scene, framing = (numbers.integers(0, count, 60) for count in (3, 5, 3))
    parts = [0.5 * random_units(3, 64, seed + 1)[who], random_units(5, 64, seed + 2)[scene]]
    vectors = unit(parts[0] + parts[1] + random_units(3, 64, seed + 3)[framing])
    left = remove_effects(vectors, [[f"s{n}" for n in scene], [f"f{n}" for n in framing]])
    same = (who[:, None] == who) & (scene[:, None] != scene)
    other = (who[:, None] != who) & (scene[:, None] == scene)
    assert (vectors @ vectors.T)[same].mean() < (vectors @ vectors.T)[other].mean()
    assert (left @ left.T)[same].mean() > (left @ left.T)[other].mean() + 0.2


def test_where_scenes_explain_everything_the_mean_is_left() -> None:
    scenes = [n % 4 for n in range(400)]
    vectors = unit(random_units(4)[scenes] + 1)
    left = remove_effects(vectors, [[str(n) for n in scenes]])
    np.testing.assert_allclose(left @ unit(vectors.mean(axis=0)), 1, atol=1e-3)


def test_a_scene_of_one_candidate_does_not_take_the_candidate_away() -> None:
    vectors = unit(np.random.default_rng(0).normal(size=(20, 32)) + 0.5)
    left = remove_effects(vectors, [["alone", *["shared"] * 19]])
    middle = unit(vectors.mean(axis=0))
    assert vectors[0] @ middle + 0.05 < left[0] @ middle < 0.95


def test_without_factors_or_candidates_nothing_happens() -> None:
    np.testing.assert_allclose(remove_effects(random_units(5), []), random_units(5), atol=1e-7)
    assert remove_effects(np.zeros((0, 32)), [[]]).shape == (0, 32)


# --- core ---------------------------------------------------------------------------------------------------------


def at(*degrees: float) -> np.ndarray:
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)


def test_far_strays_do_not_make_near_strays_look_central() -> None:
    vectors = at(-5, -4, -3, -2, 2, 3, 4, 5, 120, 121, 122, 30, 31)
    dragged = unit(vectors.sum(axis=0))
    assert (vectors @ dragged)[11] > (vectors @ dragged)[0]
    assert central_members(vectors, share=8 / 13, min_members=2).tolist() == list(range(8))


@pytest.mark.parametrize(("share", "least", "left"), [(0.7, 2, 7), (0.75, 2, 8), (0, 4, 4), (0.1, 20, 10), (1, 2, 10)])
def test_a_share_is_left_and_never_fewer_than_the_least(share: float, least: int, left: int) -> None:
    kept = central_members(random_units(10), share, least)
    assert len(kept) == left
    assert (np.diff(kept) > 0).all()


def test_the_core_of_many_is_as_large_as_asked() -> None:
    assert len(central_members(random_units(1001), 0.5, 5)) == 501


@given(SEEDS, st.integers(1, 60), st.floats(0, 1))
@settings(max_examples=30)
def test_the_core_does_not_depend_on_the_order_of_candidates(seed: int, count: int, share: float) -> None:
    vectors = random_units(count, seed=seed)
    shuffled = np.random.default_rng(seed).permutation(count)
    assert set(shuffled[central_members(vectors[shuffled], share, 2)]) == set(central_members(vectors, share, 2))


# --- cluster ------------------------------------------------------------------------------------------------------

AMONG = {
    "looser groups": [(8, 0.25), (7, 0.5), (6, 0.5), (6, 0.55), (5, 0.5)],
    "larger looser groups": [(8, 0.25), (20, 0.5), (12, 0.5)],
    "strays only": [(8, 0.25)],
    "tiny tighter groups": [(8, 0.25), (4, 0.1), (4, 0.1), (3, 0.05), (12, 0.6)],
}


@pytest.mark.parametrize("least", [5, 8])
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("among", AMONG)
def test_the_group_of_eight_alike_is_found_whole_and_alone(among: str, seed: int, least: int) -> None:
    vectors, eight = crowd(seed, AMONG[among])
    assert set(find_cluster(vectors, least).members) == eight


@pytest.mark.parametrize("seed", range(5))
def test_a_group_with_a_gap_around_it_is_taken_whole_though_part_of_it_is_more_alike(seed: int) -> None:
    numbers = np.random.default_rng(seed)
    strays = unit(numbers.normal(size=(20, 64)))
    along = np.linspace(-0.5, 0.5, 12)[:, None] * np.eye(64)[1]
    vectors = unit(np.concatenate([np.eye(64)[0] + along + 0.15 * random_units(12, 64, seed), strays]))
    assert mean_pairwise(vectors[3:8]) > mean_pairwise(vectors[:12]) + 0.05
    assert find_cluster(vectors, 5).members.tolist() == list(range(12))


@pytest.mark.parametrize("strays", [0, 150])
@pytest.mark.parametrize("seed", range(3))
def test_neighbouring_groups_are_told_apart_however_many_strays_there_are(seed: int, strays: int) -> None:
    numbers, axes = np.random.default_rng(seed), np.eye(64)
    pairs = [axes[pair] + side * axes[3 + pair] for pair in range(3) for side in (-0.2, 0.2)]
    spreads = [0.25] + [0.3] * 5
    groups = [
        middle + far * random_units(8, 64, seed + n) for n, (middle, far) in enumerate(zip(pairs, spreads, strict=True))
    ]
    vectors = unit(np.concatenate([*groups, unit(numbers.normal(size=(strays, 64)))]))
    assert find_cluster(vectors, 5).members.tolist() == list(range(8))


@pytest.mark.parametrize("seed", range(3))
def test_where_all_are_one_group_all_are_taken(seed: int) -> None:
    vectors = unit(np.eye(256)[0] + 0.4 * random_units(20, 256, seed))
    assert len(find_cluster(vectors, 5).members) == 20


def test_what_is_said_of_a_cluster_is_true() -> None:
    vectors, eight = crowd(0, AMONG["looser groups"])
    found = find_cluster(vectors, 5)
    members = vectors[sorted(eight)].astype(float)
    assert found.members.tolist() == sorted(eight)
    assert found.cohesion == pytest.approx(mean_pairwise(members))
    np.testing.assert_allclose(found.similarity, vectors @ unit(members.mean(axis=0)), atol=1e-6)
    assert list(found.sizes) == sorted(found.sizes, reverse=True)
    assert len(eight) in found.sizes
    assert sum(found.sizes) <= len(vectors)


def test_where_no_group_is_large_enough_the_largest_is_named() -> None:
    vectors, _ = crowd(0, [(6, 0.1), (5, 0.1)], count=11)
    found = find_cluster(vectors, 12)
    assert (found.members.tolist(), found.cohesion, max(found.sizes)) == ([], 0, 11)
    assert found.similarity.tolist() == [0] * 11
    strays = find_cluster(np.eye(40, dtype=np.float32)[:, :39], 41)
    assert strays.members.tolist() == []
    assert 0 < max(strays.sizes) < 41


def test_the_smallest_group_allowed_is_found_and_one_more_is_too_many() -> None:
    vectors = np.concatenate([np.eye(20)[[0] * 6], np.eye(20)[6:12]])
    assert find_cluster(vectors, 6).members.tolist() == list(range(6))
    found = find_cluster(np.concatenate([np.eye(20)[[0] * 6], -np.eye(20)[[0] * 5]]), 7)
    assert (found.members.tolist(), max(found.sizes)) == ([], 6)


@given(SEEDS, st.integers(0, 40))
@settings(max_examples=20)
def test_the_cluster_does_not_depend_on_the_order_of_candidates(seed: int, count: int) -> None:
    vectors = random_units(count, dimension=8, seed=seed)
    shuffled = np.random.default_rng(seed).permutation(count)
    plain, other = find_cluster(vectors, 3), find_cluster(vectors[shuffled], 3)
    assert set(shuffled[other.members]) == set(plain.members)
    assert (other.cohesion, other.sizes) == (plain.cohesion, plain.sizes)


@given(SEEDS, st.integers(0, 30), st.integers(2, 12), st.floats(1, 4))
@settings(max_examples=20)
def test_a_cluster_has_enough_members_or_none(seed: int, count: int, least: int, spread: float) -> None:
    found = find_cluster(random_units(count, dimension=4, seed=seed), least, spread)
    assert len(found.members) == 0 or len(found.members) >= least
    assert len(found.similarity) == count
    assert (np.diff(found.members) > 0).all()
    if not len(found.members):
        assert max(found.sizes, default=0) < least


def test_the_spread_decides_how_far_a_member_may_be() -> None:
    axes = np.eye(12)
    vectors = unit(np.concatenate([axes[0] + 0.1 * axes[1:10], axes[0] + 0.3 * axes[10:]]))
    assert [len(find_cluster(vectors, 9, spread).members) for spread in (1.5, 5)] == [9, 11]


def test_equal_pictures_and_pictures_of_nothing_are_no_trouble() -> None:
    assert find_cluster(np.tile(random_units(1), (10, 1)), 5).members.tolist() == list(range(10))
    assert find_cluster(np.zeros((10, 4)), 5).cohesion == 0


# --- diverse ------------------------------------------------------------------------------------------------------


def choose(vectors: np.ndarray, worth: list[float], keep: int, balance: float) -> list[int]:
    return choose_diverse(vectors, worth, {}, keep, balance).items


def test_with_all_the_weight_on_worth_the_best_come_in_order_and_ties_by_place() -> None:
    assert choose(random_units(5), [0.1, 0.9, 0.5, 0.9, 0.2], 4, balance=1) == [1, 3, 2, 4]


def test_with_all_the_weight_on_difference_the_farthest_comes_next() -> None:
    assert choose(at(0, 10, 100, 180), [0, 0, 0, 0], 4, balance=0) == [0, 3, 2, 1]


def test_worth_and_similarity_are_weighed_against_each_other() -> None:
    vectors, worth = np.eye(3)[[0, 0, 1]], [0.9, 0.8, 0.5]
    assert choose(vectors, worth, 2, balance=0.7) == [0, 2]  # 0.7 * 0.8 - 0.3 * 1 < 0.7 * 0.5
    assert choose(vectors, worth, 2, balance=0.8) == [0, 1]  # 0.8 * 0.8 - 0.2 * 1 > 0.8 * 0.5


def test_what_differs_by_rounding_is_equal_and_comes_by_place() -> None:
    vectors = np.tile(random_units(1, 512), (37, 1))
    assert choose(vectors, [0.3] * 36 + [0.1 + 0.2], 37, 0.5) == list(range(37))


def test_no_value_is_taken_more_often_than_its_share() -> None:
    cells = {"scene": ["beach"] * 6 + ["forest", "town"]}
    chosen = choose_diverse(random_units(8), [0.9] * 6 + [0.1, 0.1], cells, 4, balance=0.9)
    assert Counter(cells["scene"][item] for item in chosen.items) == {"beach": 2, "forest": 1, "town": 1}
    assert chosen.over == []


def test_what_quotas_cannot_keep_is_said() -> None:
    cells = {"scene": ["beach"] * 5 + ["forest"], "framing": ["far", "near", "near", "near", "near", "near"]}
    chosen = choose_diverse(np.eye(6), [0.1, 0.5, 0.5, 0.5, 0.5, 0.9], cells, 4, balance=1)
    assert chosen.items == [5, 1, 0, 2]  # 0 exceeds one quota, the others two
    assert chosen.over == [("scene", "beach"), ("framing", "near")]


def test_given_quotas_replace_those_of_their_axes() -> None:
    cells = {"scene": ["beach"] * 4 + ["forest"] * 4}
    chosen = choose_diverse(np.eye(8), [0.9] * 4 + [0.1] * 4, cells, 4, 1, quotas={"scene": 3})
    assert chosen.items == [0, 1, 2, 4]
    assert choose_diverse(np.eye(8), [0.5] * 8, cells, 1, 1, quotas={"scene": 0}).over == [("scene", "beach")]


def test_what_must_come_first_counts_for_quotas_and_for_similarity() -> None:
    cells = {"scene": ["beach", "beach", "forest", "forest"]}
    chosen = choose_diverse(np.eye(4)[[0, 1, 1, 2]], [0.9, 0.1, 0.8, 0.7], cells, 2, 0.5, first=[1])
    assert chosen == DiverseChoice([1, 3], [])  # not 0, which shows the beach again; not 2, which looks the same


def test_no_more_than_there_are() -> None:
    assert sorted(choose(random_units(3), [0.1, 0.2, 0.3], 10, 0.5)) == [0, 1, 2]
    assert choose(random_units(3), [0.1, 0.2, 0.3], 0, 0.5) == []
    assert choose(np.zeros((0, 4)), [], 3, 0.5) == []


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.floats(0, 1)), min_size=1, max_size=14),
    st.integers(1, 14),
    st.floats(0, 1),
    SEEDS,
)
@settings(max_examples=60)
def test_a_quota_is_exceeded_only_where_everything_left_exceeds_one(
    items: list[tuple[str, str, float]], keep: int, balance: float, seed: int
) -> None:
    cells = {"scene": [scene for scene, _, _ in items], "framing": [framing for _, framing, _ in items]}
    vectors, worth = random_units(len(items), 8, seed), [worth for _, _, worth in items]
    chosen = choose_diverse(vectors, worth, cells, keep, balance)
    assert chosen == choose_diverse(vectors, worth, cells, keep, balance)
    assert len(set(chosen.items)) == len(chosen.items) == min(keep, len(items))
    quotas = {axis: ceil(keep / len(set(values))) for axis, values in cells.items()}
    taken: Counter[tuple[str, str]] = Counter()

    def exceeds(item: int) -> bool:
        return any(taken[axis, values[item]] + 1 > quotas[axis] for axis, values in cells.items())

    for place, item in enumerate(chosen.items):
        if exceeds(item):
            assert all(exceeds(other) for other in set(range(len(items))) - set(chosen.items[:place]))
        taken.update((axis, values[item]) for axis, values in cells.items())
    assert set(chosen.over) == {pair for pair, count in taken.items() if count > quotas[pair[0]]}


# --- Measures of a set --------------------------------------------------------------------------------------------


@given(SEEDS, st.integers(2, 30))
def test_mean_pairwise_is_the_mean_over_all_pairs(seed: int, count: int) -> None:
    vectors = random_units(count, seed=seed).astype(float)
    assert mean_pairwise(vectors) == pytest.approx((vectors @ vectors.T)[np.triu_indices(count, 1)].mean())


def test_one_picture_is_wholly_alike() -> None:
    assert mean_pairwise(random_units(1)) == 1


@pytest.mark.parametrize("copies", [1, 2, 40])
def test_effective_size_counts_what_is_different_however_often_it_is_there(copies: int) -> None:
    assert effective_size(np.tile(np.eye(5, 32), (copies, 1))) == pytest.approx(5)
    assert effective_size(np.tile(random_units(1), (copies, 1))) == pytest.approx(1)


@pytest.mark.parametrize("count", [10, 200])
def test_effective_size_is_the_vendi_score(count: int) -> None:
    vectors = random_units(count).astype(float)
    eigenvalues = np.linalg.svd(vectors @ vectors.T / count, compute_uv=False)
    eigenvalues = eigenvalues[eigenvalues > 1e-12]
    assert effective_size(vectors) == pytest.approx(np.exp(-(eigenvalues * np.log(eigenvalues)).sum()))
    assert effective_size(vectors[:0]) == 0


# --- Size ---------------------------------------------------------------------------------------------------------

NUMBERS = [f"{n}" for n in range(5000)]
WORK: dict[str, Callable[[np.ndarray], object]] = {
    "without": lambda vectors: project_out(vectors, vectors[:20]),
    "residual": lambda vectors: remove_effects(vectors, [[each[-1] for each in NUMBERS[: len(vectors)]]]),
    "residual of as many values": lambda vectors: remove_effects(vectors, [NUMBERS[: len(vectors)]]),
    "core": lambda vectors: central_members(vectors, 0.5, 5),
    "cluster": lambda vectors: find_cluster(vectors, 8),
    "diverse": lambda vectors: choose_diverse(vectors, vectors[:, 0], {"axis": NUMBERS[: len(vectors)]}, 24, 0.5),
    "mean_pairwise": mean_pairwise,
    "effective_size": effective_size,
}


@pytest.mark.parametrize("work", WORK)
def test_memory_grows_with_the_number_of_candidates_not_with_its_square(work: str) -> None:
    vectors = random_units(5000, 256)
    peaks = []
    for count in (500, 1000, 5000):
        tracemalloc.start()
        WORK[work](vectors[:count])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2 * 1.3 * peaks[0]
    assert peaks[2] < 10 * 1.3 * peaks[0]


def test_choosing_needs_no_torch() -> None:
    heavy = "{'torch', 'scipy', 'sklearn'}"
    light = f"import sys; from models.scoring import clusters, statistics; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", light], capture_output=True, text=True).stdout == "[]\n"


def _four_characters(each: int = 12, width: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of four that differ a little, each picture with differences of its own that are larger in sum."""
    rng = np.random.default_rng(3)
    who = np.repeat(np.arange(4), each)
    own = rng.normal(size=(4, width)) * 0.06
    vectors = rng.normal(size=width) + own[who] * 4 + rng.normal(size=(4 * each, width)) * 0.12
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), who


def test_a_factor_explains_what_lies_between_its_values_and_no_more_than_chance_does() -> None:
    rng = np.random.default_rng(1)
    vectors, values = rng.normal(size=(60, 40)), [str(n % 6) for n in range(60)]
    assert abs(explained_share(vectors, values)) < 0.05
    places = 3 * rng.normal(size=(6, 40))[np.arange(60) % 6]
    assert 0.85 < explained_share(vectors + places, values) < 0.95
    assert explained_share(places, values) == pytest.approx(1)


def test_where_a_factor_cannot_explain_anything_it_explains_nothing() -> None:
    vectors = np.random.default_rng(1).normal(size=(5, 8))
    for rows, values in (
        (vectors, ["a"] * 5),
        (vectors, list("abcde")),
        (np.ones((5, 8)), list("aabbb")),
        (vectors[:0], []),
    ):
        assert explained_share(rows, values) == 0


def test_main_directions_tell_apart_whom_all_the_small_differences_drown() -> None:
    vectors, who = _four_characters()
    same = who[:, None] == who
    others = ~np.eye(len(who), dtype=bool)

    def contrast(found: np.ndarray) -> float:
        alike = found @ found.T
        return float((1 - alike[same & others]).mean() / (1 - alike[~same]).mean())

    assert contrast(main_directions(vectors)) < 0.5 * contrast(vectors)


def test_main_directions_do_not_depend_on_the_order() -> None:
    vectors, _ = _four_characters()
    order = np.random.default_rng(0).permutation(len(vectors))
    straight, shuffled = main_directions(vectors), main_directions(vectors[order])
    assert np.allclose((straight @ straight.T)[np.ix_(order, order)], shuffled @ shuffled.T, atol=1e-9)
    assert np.allclose(np.linalg.norm(straight, axis=1), 1)
