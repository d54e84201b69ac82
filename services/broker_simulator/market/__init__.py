"""Where prices come from: history, replay, synthetic, scripted."""
