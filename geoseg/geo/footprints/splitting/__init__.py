"""Footprints that touch, cut apart."""
