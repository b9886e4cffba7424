"""Things that are joined pair by pair, and the sets that they make up (union-find)."""


class DisjointSets:
    """Sets of the numbers from 0 on, at first each alone."""

    def __init__(self, count: int) -> None:
        """Start with so many sets of one number."""
        self._parent = list(range(count))

    def root(self, i: int) -> int:
        """Return the number that stands for the set of a number."""
        parent = self._parent
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    def join(self, root: int, other: int) -> None:
        """Let the first of two numbers that stand for their sets stand for both."""
        self._parent[other] = root

    def roots(self) -> list[int]:
        """Return for each number the one that stands for its set.

        Example:
            >>> sets = DisjointSets(4)
            >>> sets.join(0, 3)
            >>> sets.roots()
            [0, 1, 2, 0]
        """
        return [self.root(i) for i in range(len(self._parent))]
