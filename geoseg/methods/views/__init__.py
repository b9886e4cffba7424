"""Views of a patch: turned, mirrored, warped, cropped, recoloured.

All chance is keyed by ``(seed, epoch, index, stream)`` through a counter-based hash: a
patch has the same view whatever batch, order or process it comes in, and nothing
touches torch's random state. Turns, mirrors and warps have an exact inverse.
"""
