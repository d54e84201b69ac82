"""Checks of what Tradewind is made of: advisories, secrets in the source, bills of materials."""
