"""Market data: providers in, checked and normalised ticks, bars and instruments out."""
