"""A synthetic desert suburb as an eight-band sensor would see it, made of integers.

Every value comes from integer hashing and exact integer geometry, so that the same
seed gives the same arrays on any processor and with any version of numpy. Distances
are in pixels of a nominal 0.3 m unless a name says otherwise.
"""
