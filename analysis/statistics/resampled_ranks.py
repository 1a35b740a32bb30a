"""Sums of mid-ranks in resamples of whole clusters, without sorting any resample.

Two variables are sorted once. How often an observation is drawn is how often its cluster is, so ranks within a resample
are cumulative sums of such counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .correlation import Floats, Ranking

# Cumulative sums are taken over so many rows first.
ROWS = 16


class RankSums:
    """Σ of products of centred mid-ranks of one or several variables x with those of y, as Spearman's rho needs them.

    Below 10⁵ observations all sums are of multiples of ¼ below 2⁵³, so they are exact in any order of addition.
    """

    def __init__(self, xs: Floats, y: Floats, cluster: NDArray[np.intp], n_clusters: int):
        """Sort ``xs`` ``(variables, n)`` and ``y`` ``(n,)``; ``cluster`` ``(n,)`` holds 0 … clusters−1."""
        self.y = Ranking(y)
        self.cluster = cluster[self.y.order]
        self.sizes = np.bincount(cluster, minlength=n_clusters)
        rankings = [Ranking(values) for values in xs]
        self.ties = [Ties(ranking, cluster, n_clusters) for ranking in (self.y, *rankings)]
        self.below = [Below(ranking, self.y, cluster, n_clusters) for ranking in rankings]

    def __call__(self, counts: NDArray) -> tuple[Floats, Floats, Floats]:
        """Return Σxy and Σxx, ``(variables, some)``, and Σyy, ``(some,)``, for ``counts`` ``(some, clusters)``."""
        of_clusters = np.pad(counts.astype(np.int32), ((0, 0), (0, 1)))
        drawn = np.take(of_clusters, self.cluster, axis=1)
        weighted = drawn * np.take(self.y.midranks(drawn), self.y.group[self.y.order], axis=1)
        own = np.einsum("bi,bi->b", weighted, drawn)
        xy = np.stack([below.products(of_clusters, weighted, own) for below in self.below])
        times = counts.astype(np.float64)
        cubes = times**3
        # Mid-ranks of N observations in ties of t have the sum of squares (N³ − Σt³)/12.
        yy, *xx = ((times @ self.sizes) ** 3 - ties.cubes(times, cubes) for ties in self.ties)
        return xy, np.stack(xx) / 12, yy / 12


class Below:
    """How many drawn observations lie below each one in one variable x; observations in ascending order of y."""

    def __init__(self, x: Ranking, y: Ranking, cluster: NDArray[np.intp], n_clusters: int):
        n = len(cluster)
        # Position p of the ascending order is kept in row p % ROWS, so that a cumulative sum is mostly additions of
        # whole rows. Position 0 and those after the last belong to a cluster that is never drawn.
        position = np.arange(ROWS * -(-(n + 1) // ROWS)).reshape(-1, ROWS).T.ravel()
        ascending = np.full(len(position), n_clusters)
        ascending[1 : n + 1] = cluster[x.order]
        self.cluster = ascending[position]
        place, group = np.argsort(position), x.group[y.order]
        self.up_to = place[np.r_[x.starts[1:], n][group]]
        self.before = place[x.starts[group]] if x.tied else None

    def products(self, of_clusters: NDArray[np.int32], weighted: Floats, own: Floats) -> Floats:
        """Return the sums of products of mid-ranks, ``(some,)``.

        Args:
            of_clusters: ``(some, clusters + 1)``, how often each cluster is drawn, and a 0.
            weighted: ``(some, n)``, centred mid-ranks of y times how often each observation is drawn; they sum to 0.
            own: ``(some,)``, sums of ``weighted`` times how often each observation is drawn.
        """
        counts = np.take(of_clusters, self.cluster, axis=1).reshape(len(of_clusters), ROWS, -1)
        for row in range(1, ROWS):
            counts[:, row] += counts[:, row - 1]
        counts[:, :, 1:] += np.cumsum(counts[:, -1, :-1], axis=1, dtype=np.int32)[:, None]
        counts = counts.reshape(len(of_clusters), -1)
        up_to = np.einsum("bi,bi->b", weighted, np.take(counts, self.up_to, axis=1))
        if self.before is None:
            return up_to - own / 2
        return (up_to + np.einsum("bi,bi->b", weighted, np.take(counts, self.before, axis=1))) / 2


class Ties:
    """Ties of one variable in resamples; an observation that is drawn several times is tied with itself."""

    def __init__(self, ranking: Ranking, cluster: NDArray[np.intp], n_clusters: int):
        size = np.bincount(ranking.group)
        tied = (size > 1)[ranking.group]
        self.alone = np.bincount(cluster[~tied], minlength=n_clusters)
        where = (np.cumsum(size > 1) - 1)[ranking.group[tied]], cluster[tied]
        shape = int((size > 1).sum()), n_clusters
        self.together = sparse.csr_array((np.ones(len(where[0])), where), shape) if ranking.tied else None

    def cubes(self, times: Floats, cubes: Floats) -> Floats:
        """Return Σt³, ``(some,)``; ``times`` ``(some, clusters)`` says how often each is drawn, with its cubes."""
        alone = cubes @ self.alone
        return alone if self.together is None else alone + ((self.together @ times.T) ** 3).sum(axis=0)
