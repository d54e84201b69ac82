"""Judges and sizes every order; keeps limits and the kill switch."""
