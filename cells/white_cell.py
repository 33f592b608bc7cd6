"""A crop of a blood smear -> the masks of its white cell and of the nucleus."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from leukobench.cells.components import fill_holes, largest_component
from leukobench.core.errors import InputError

# Chosen on half of 200 crops with hand-drawn masks, see benchmarks/segmentation.py; lengths in nuclear radii, which are
# the radius of a disk with the area of the nucleus
SIDE = 120  # px; the shorter side at which images are smoothed by SMOOTHING
SMOOTHING = 0.7  # px
STAINED = 0.08  # optical density above which a pixel counts as stained
WEIGHTS = np.array([1, 1, 0.5], np.float32)  # of red, green and blue in the density of the cytoplasm
OPENING = 9  # px; largest diameter of the opening of strongly stained components
CENTRAL = 0.3  # density that the central nucleus absorbs at least / that of the strongest component
WEAKEST = 0.2  # the same of every nucleus, where all cells are segmented
PALE = 0.35  # of the cytoplasm's density: where the cell ends
RING = 0.35  # width of the ring around the nucleus that stands for the cytoplasm
FAR = (1.6, 1.1)  # distance from the nucleus beyond which stained pixels stand for red cells; the second if none do
SEPARATION = 2.0  # squared Mahalanobis distance of cytoplasm and red cells, at least, to tell them apart
REACH = 4.0  # largest distance of the outline from the centre of the nucleus
ANGLES, STEPS = 96, 96  # of the outline in polar coordinates
STIFFNESS = 0.05  # cost of squared differences of the radius between neighbouring angles
JUMP = 0.5  # largest such difference
BAND = 0.25  # width of the band around the outline in which pixels are classified by their own colour
NUCLEAR = 0.3  # of the way from the mean green density of the cytoplasm to that of the nucleus
LOBE = 0.08  # smallest area of a lobe / area of the nucleus
GAP = 0.6  # largest gap between lobes of one nucleus


def segment_white_cell(rgb: np.ndarray, name: str = "image") -> tuple[np.ndarray, np.ndarray, int]:
    """Segment the white cell in an uncut crop of a smear, and its nucleus.

    1. The optical density -log10(I / I0) of each channel, where I0 is the most frequent bright grey level.
    2. The strongly stained component that is nearest to the middle, with the lobes near it, is a first nucleus.
    3. A ring around it stands for the cytoplasm. Where stained pixels far from it differ in colour, a linear
       discriminant tells them (red cells) from cytoplasm. No training data are needed, as in the source. Where there
       are none so far, nearer ones are tried, which are red cells only if they absorb a smaller share of red light.
       Pixels nearer to a nucleus at the border of the crop are of another cell.
    4. The outline is the closed curve in polar coordinates around the nucleus that encloses most evidence of cell; it
       is found by dynamic programming. Near the outline, pixels are then classified one by one.
    5. Within the cell, a threshold of the green density gives the nucleus.

    Args:
        rgb: The crop, 0 to 255. [shape=(height, width, 3), uint8]
        name: Name of the image in error messages.

    Returns:
        The mask of the cell and that of its nucleus [shape=(height, width), uint8, 0 or 255], and the number of
        objects: the cell, and each nucleus outside it. Platelets do not count.

    Raises:
        InputError: nothing is stained, or no stained component is larger than a speck.

    Source: Zheng, X., Wang, Y., Wang, G., & Liu, J. (2018). Fast and robust segmentation of white blood cell images by
    self-supervised learning. Micron 107, 55-71 (the idea of step 3).
    """
    density = _density(rgb)
    components = _components(density, name)
    cell, nucleus = _cell_around(density, components.central(), components.at_border())
    return cell.astype(np.uint8) * 255, nucleus.astype(np.uint8) * 255, 1 + components.outside(cell)


def segment_white_cells(rgb: np.ndarray, name: str = "image") -> list[tuple[np.ndarray, np.ndarray]]:
    """Segment every white cell of a photograph of a smear; see `segment_white_cell`.

    A nucleus is a strongly stained component with the lobes near it. Those that absorb less than a fifth of what the
    strongest nucleus absorbs are left out: platelets and stain deposits. No pixel belongs to two cells.

    Args:
        rgb: The photograph, 0 to 255. [shape=(height, width, 3), uint8]
        name: Name of the image in error messages.

    Returns:
        The mask of each cell and that of its nucleus, from top to bottom. [shape=(height, width), uint8, 0 or 255]

    Raises:
        InputError: see `segment_white_cell`.
    """
    density = _density(rgb)
    components = _components(density, name)
    taken = np.zeros(rgb.shape[:2], bool)
    cells = []
    for seed in sorted(components.nuclei(), key=lambda mask: tuple(np.argwhere(mask).mean(axis=0))):
        cell, nucleus = _cell_around(density, seed, components.labels > 0)
        cell, nucleus = cell & ~taken, nucleus & ~taken
        if nucleus.any():
            taken |= cell
            cells.append((cell.astype(np.uint8) * 255, nucleus.astype(np.uint8) * 255))
    return cells


def _density(rgb: np.ndarray) -> np.ndarray:
    """Return the optical density of each channel after smoothing. [shape=(height, width, 3)]"""
    scale = min(2.0, max(1.0, min(rgb.shape[:2]) / SIDE))
    light = np.float32(_background(rgb))
    smooth = np.asarray(cv2.GaussianBlur(rgb, (0, 0), SMOOTHING * scale)).astype(np.float32)
    return np.clip(-np.log10((smooth + 2) / (light + 2)), 0, None)


def _background(rgb: np.ndarray) -> np.ndarray:
    """Return the median colour of the most frequent grey levels above the 30th percentile. [shape=(3,)]"""
    grey = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))
    counts = np.bincount(grey.ravel(), minlength=256).astype(np.float32)
    frequency = np.asarray(cv2.GaussianBlur(counts[None], (0, 0), 4))[0]
    frequency[: int(np.percentile(grey, 30))] = 0
    return np.asarray(np.median(rgb[np.abs(grey.astype(int) - int(np.argmax(frequency))) <= 4], axis=0))


@dataclass(frozen=True)
class _Components:
    """The strongly stained components of an image: nuclei, their lobes, platelets.

    Attributes:
        labels: Number of the component of each pixel, 0 outside. [shape=(height, width)]
        weights: Sum of the density of each.
        distance: Distance of each from the middle of the image, px.
        cut: Whether each touches the border of the image.
    """

    labels: np.ndarray
    weights: np.ndarray
    distance: np.ndarray
    cut: np.ndarray

    @property
    def count(self) -> int:
        return len(self.weights) - 1

    def central(self) -> np.ndarray:
        """Return the nucleus nearest to the middle; one at the border counts as a fifth of the image farther away."""
        rank = self.distance + 0.2 * max(self.labels.shape) * self.cut
        candidates = [i for i in range(1, self.count + 1) if self.weights[i] >= CENTRAL * self.weights[1:].max()]
        return self._with_lobes(min(candidates, key=lambda i: rank[i]), set())

    def outside(self, cell: np.ndarray) -> int:
        """Return how many components outside a cell absorb enough to be a nucleus."""
        enough = 1 + np.flatnonzero(self.weights[1:] >= WEAKEST * self.weights[1:].max())
        return len(set(enough.tolist()) - set(np.unique(self.labels[cell]).tolist()))

    def at_border(self) -> np.ndarray:
        """Return the pixels of the components that touch the border: they are of other cells."""
        return np.isin(self.labels, 1 + np.flatnonzero(self.cut[1:]))

    def nuclei(self) -> list[np.ndarray]:
        """Return all nuclei, the strongest first."""
        found: list[np.ndarray] = []
        used: set[int] = set()
        strongest = 0.0
        for i in 1 + np.argsort(-self.weights[1:], kind="stable"):
            if i in used:
                continue
            nucleus = self._with_lobes(int(i), used)
            members = set(np.unique(self.labels[nucleus]).tolist())
            weight = float(self.weights[list(members)].sum())
            strongest = max(strongest, weight)
            if weight >= WEAKEST * strongest:
                used |= members
                found.append(nucleus)
        return found

    def _with_lobes(self, first: int, used: set[int]) -> np.ndarray:
        """Return a component with the lobes near it, without those that are used by another nucleus."""
        from scipy import ndimage  # only smears need it

        chosen, areas = self.labels == first, np.bincount(self.labels.ravel())
        members = {first} | used
        while True:  # a lobe may be near to another lobe only
            lobes = [
                i for i in np.flatnonzero(areas >= LOBE * chosen.sum()) if i and i not in members and not self.cut[i]
            ]
            if not lobes:
                return chosen
            gaps = ndimage.minimum(_distance(~chosen), self.labels, lobes)
            near = [i for i, gap in zip(lobes, gaps, strict=True) if gap <= GAP * _radius(chosen)]
            if not near:
                return chosen
            chosen |= np.isin(self.labels, near)
            members |= {int(i) for i in near}


def _components(density: np.ndarray, name: str) -> _Components:
    """Return the strongly stained components of an image."""
    absorbed = density[..., 0] + 0.5 * density[..., 1]
    stained = absorbed[absorbed > STAINED]
    if not stained.size:
        raise InputError(f"{name}: holds no cell (nothing is stained); remove it or replace it")
    strong = absorbed > _otsu(stained, float(np.percentile(absorbed, 99.9)))
    height, width = strong.shape
    mask = _opened(strong, min(min(height, width) / 50, OPENING))
    count, labels, statistics, centres = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if count < 2:
        raise InputError(f"{name}: holds no cell (only specks are stained); remove it or replace it")
    weights = np.bincount(labels.ravel(), weights=absorbed.ravel(), minlength=count)
    x, y, w, h = statistics[:, :4].T
    cut = (x == 0) | (y == 0) | (x + w == width) | (y + h == height)
    distance = np.hypot(centres[:, 0] - (width - 1) / 2, centres[:, 1] - (height - 1) / 2)
    return _Components(labels, weights, distance, cut)


def _cell_around(density: np.ndarray, seed: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the cell around a first nucleus, and its nucleus.

    Args:
        density: Optical density of the image. [shape=(height, width, 3)]
        seed: The first nucleus. [shape=(height, width), bool]
        others: Strongly stained components of other cells; the cell does not contain them. [as seed]
    """
    left, top, width, height = cv2.boundingRect(seed.astype(np.uint8))
    margin = int(REACH * _radius(seed)) + 1
    window = (slice(max(0, top - margin), top + height + margin), slice(max(0, left - margin), left + width + margin))
    near = seed[window]
    inside = _outline(_evidence(density[window], near, others[window] & ~near), near)
    cell, nucleus = np.zeros(seed.shape, bool), np.zeros(seed.shape, bool)
    cell[window] = inside
    nucleus[window] = _nucleus(density[window][..., 1], inside, near)
    return cell, nucleus


def _evidence(density: np.ndarray, nucleus: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the evidence of each pixel that it belongs to the cell, -1 to 1; 1.5 in the nucleus.

    Pixels nearer to the nucleus of another cell, in nuclear radii, belong to that.
    """
    radius, dark = _radius(nucleus), density @ WEIGHTS
    distance = _distance(~nucleus)
    ring = (distance > 1) & (distance <= max(3, RING * radius)) & (dark > STAINED)
    typical = float(np.median(dark[ring])) if ring.any() else 2 * STAINED
    threshold = max(STAINED, PALE * typical)
    evidence = np.clip(dark / threshold - 1, -1, 1)
    for start in FAR:
        far = (distance > start * radius) & (dark > max(threshold, 0.6 * typical))
        if ring.sum() > 20 and far.sum() > 0.02 * far.size:
            not_red = _not_red(density, ring, far, paler=start != FAR[0])
            if not_red is not None:
                evidence = np.minimum(evidence, not_red)
                break
    for other in _larger(others, LOBE * nucleus.sum()):
        evidence[_distance(~other) / _radius(other) < distance / radius] = -1
    return np.where(nucleus, 1.5, evidence).astype(np.float32)


def _larger(mask: np.ndarray, area: float) -> list[np.ndarray]:
    """Return the 8-connected components of a mask that are larger than an area."""
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return [labels == i for i in range(1, count) if statistics[i, cv2.CC_STAT_AREA] > area]


def _not_red(density: np.ndarray, ring: np.ndarray, far: np.ndarray, *, paler: bool) -> np.ndarray | None:
    """Return the discriminant of cytoplasm (1) and red cells (-1) by their shares of red and blue density.

    None if they do not differ or, with `paler`, if the red cells do not absorb a smaller share of red light.
    """
    shares = density[..., [0, 2]] / (density.sum(axis=2, keepdims=True) + 0.05)
    red, cytoplasm = shares[far], shares[ring]
    of_red, of_cell = np.median(red, axis=0), np.median(cytoplasm, axis=0)
    for _ in range(2):  # red cells may touch the nucleus
        near = ((cytoplasm - of_cell) ** 2).sum(axis=1) <= ((cytoplasm - of_red) ** 2).sum(axis=1)
        if near.sum() > 20:
            cytoplasm = cytoplasm[near]
            of_cell = np.median(cytoplasm, axis=0)
    spread = np.cov((red - of_red).T) + np.cov((cytoplasm - of_cell).T) + 1e-4 * np.eye(2)
    direction = np.linalg.solve(spread, of_cell - of_red)
    separation = float((of_cell - of_red) @ direction)
    if separation <= SEPARATION or (paler and of_cell[0] <= of_red[0]):
        return None
    position = np.clip((shares - (of_cell + of_red) / 2) @ direction / (separation / 2), -1, 1)
    return np.clip(2 * np.asarray(cv2.GaussianBlur(position.astype(np.float32), (0, 0), 1)), -1, 1)


def _outline(evidence: np.ndarray, nucleus: np.ndarray) -> np.ndarray:
    """Return the cell: the closed polar curve around the nucleus that encloses most evidence, refined by pixels."""
    radius = _radius(nucleus)
    row, column = np.argwhere(nucleus).mean(axis=0)
    step = min(REACH * radius, max(nucleus.shape)) / STEPS
    angles = np.arange(ANGLES)[:, None] * 2 * np.pi / ANGLES
    radii = (np.arange(STEPS)[None] + 0.5) * step
    x, y = column + radii * np.cos(angles), row + radii * np.sin(angles)
    rays = cv2.remap(
        evidence, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR, borderMode=0, borderValue=(-0.2,)
    )
    chosen = _closed_path(np.cumsum(rays * radii, axis=1) * step / radius**2, step / radius)
    ends = (chosen + 1) * step
    corners = np.stack([column + ends * np.cos(angles[:, 0]), row + ends * np.sin(angles[:, 0])], axis=1)
    mask = np.zeros(nucleus.shape, np.uint8)
    cv2.fillPoly(mask, [np.rint(corners * 16).astype(np.int32)], (1,), shift=4)
    depth = (_distance(mask) - _distance(1 - mask)) / (BAND * radius)
    inside = np.asarray(cv2.GaussianBlur(evidence, (0, 0), 1)) + depth > 0
    cell = largest_component((_opened(inside, 0.15 * radius) | nucleus).astype(np.uint8))
    fill_holes(cell)
    return cell != 0


def _closed_path(gain: np.ndarray, step: float) -> np.ndarray:
    """Return the radial step of each angle with the largest sum of gains less the cost of its changes.

    Dynamic programming goes round twice, and half a turn at either end is dropped, so that the path closes.
    """
    change = step * (np.arange(STEPS)[:, None] - np.arange(STEPS)[None])
    cost = np.where(np.abs(change) > max(JUMP, step), 1e6, STIFFNESS * ANGLES * change**2)
    best, origins = gain[0], []
    for k in range(1, 2 * ANGLES):
        reached = best[None] - cost
        origins.append(reached.argmax(axis=1))
        best = gain[k % ANGLES] + reached.max(axis=1)
    path = [int(best.argmax())]
    for origin in reversed(origins):
        path.append(int(origin[path[-1]]))
    middle = np.array(path[::-1])[ANGLES // 2 : ANGLES // 2 + ANGLES]
    return np.roll(middle, ANGLES // 2)


def _nucleus(green: np.ndarray, cell: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """Return the nucleus of a cell by a threshold of its green density."""
    top = float(np.percentile(green[cell], 99))
    values = np.clip(green, 0, top)
    threshold = _otsu(values[cell], top)
    dark, pale = values[cell & (values > threshold)], values[cell & (values <= threshold)]
    if dark.size and pale.size:
        threshold = pale.mean() + NUCLEAR * (dark.mean() - pale.mean())
    mask = _opened(cell & (values > threshold), 0.2 * _radius(seed))
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    areas = statistics[:, cv2.CC_STAT_AREA]
    if count < 2:
        return seed
    return np.isin(labels, [i for i in range(1, count) if areas[i] >= LOBE * areas[1:].max()])


def _otsu(values: np.ndarray, top: float) -> float:
    """Return Otsu's threshold of values from 0 to `top`."""
    grey = np.clip(values / top * 255, 0, 255).astype(np.uint8).reshape(-1, 1)
    return cv2.threshold(grey, 0, 255, cv2.THRESH_OTSU)[0] / 255 * top


def _opened(mask: np.ndarray, diameter: float) -> np.ndarray:
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (max(3, int(diameter) | 1),) * 2)
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disk))


def _distance(mask: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5))


def _radius(mask: np.ndarray) -> float:
    return float(np.sqrt(mask.sum() / np.pi))
