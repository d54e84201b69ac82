"""Who may come in, as whom, and what proves it."""
