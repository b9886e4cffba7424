"""Splitting of touching buildings."""
