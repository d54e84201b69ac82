"""Numbers in floats: indicators, sizing formulas, simulation kernels."""
