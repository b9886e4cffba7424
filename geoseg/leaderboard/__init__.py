"""Methods × seeds × splits on the same tiles, and the leaderboard that they make."""
