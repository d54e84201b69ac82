"""Secrets: fields encrypted at rest, and where the settings' secrets come from."""

from libs.common.runtime.secrets.box import SecretBox, UnreadableError, new_key

__all__ = ["SecretBox", "UnreadableError", "new_key"]
