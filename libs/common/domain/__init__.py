"""The market as pure values and functions; decimals live here."""
