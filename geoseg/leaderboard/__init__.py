"""Compare methods over seeds and splits on the same tiles, in a leaderboard."""
