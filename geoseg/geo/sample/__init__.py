"""Synthetic sample tiles: a desert suburb as seen by an eight-band sensor.

All values come from integer hashing and exact integer geometry, so the same seed gives the
same arrays on any processor and with any version of numpy. Distances are in pixels of a
nominal 0.3 m unless a name says otherwise.
"""
