"""Scoring of maps against reference labels."""
