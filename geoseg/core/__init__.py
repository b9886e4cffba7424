"""Basics that all rooms share, without geodata, runs or models."""
