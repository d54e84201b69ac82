"""The gateway's certificate: made here by an authority of this installation, or the owner's own."""
